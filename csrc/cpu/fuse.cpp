// SPDX-License-Identifier: Apache-2.0
#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <memory>
#include <vector>

#include "dpm/operations.h"

namespace dpm::cpu {
namespace {

using Index = std::uint32_t;

/// Which of some workers a cell belongs to. Blocks of neighbouring cells stay together, so that a worker that skips the
/// others' points still reads memory in runs.
std::uint8_t owner_of(std::uint64_t key, std::uint64_t workers) {
  constexpr std::uint64_t kBlockOfCells = ~(std::uint64_t{7} << 42 | std::uint64_t{7} << 21 | std::uint64_t{7});
  const std::uint64_t mixed = (key & kBlockOfCells) * 0x9e3779b97f4a7c15u >> 32;
  return static_cast<std::uint8_t>(mixed * workers >> 32);
}

/// Memory that is written before it is read.
template <class T>
std::unique_ptr<T[]> uninitialised(std::int64_t size) {
  return std::unique_ptr<T[]>(new T[static_cast<std::size_t>(size)]);
}

/// A set of indices below a bound that knows how many of them are smaller than a given one.
class Ranks {
 public:
  explicit Ranks(std::int64_t bound) : words_(bound / 64 + 1), before_(words_.size()) {}

  void insert(std::int64_t index) {
    auto& word = words_[index / 64];
#pragma omp atomic
    word |= std::uint64_t{1} << index % 64;
  }
  /// After the last insertion; returns how many there are.
  std::int64_t freeze() {
    std::int64_t sum = 0;
    for (std::size_t w = 0; w < words_.size(); ++w) before_[w] = sum, sum += __builtin_popcountll(words_[w]);
    return sum;
  }
  std::int64_t rank(std::int64_t index) const {
    const std::uint64_t below = words_[index / 64] & ((std::uint64_t{1} << index % 64) - 1);
    return before_[index / 64] + __builtin_popcountll(below);
  }

 private:
  std::vector<std::uint64_t> words_;
  std::vector<std::int64_t> before_;
};

/// Sums that stay where they are while more are added.
class Sums {
 public:
  std::size_t size() const { return size_; }
  VoxelSum& operator[](std::size_t k) { return blocks_[k / kBlock][k % kBlock]; }
  const VoxelSum& operator[](std::size_t k) const { return blocks_[k / kBlock][k % kBlock]; }
  void add() {
    if (size_++ % kBlock == 0) blocks_.push_back(std::make_unique<VoxelSum[]>(kBlock));
  }

 private:
  static constexpr std::size_t kBlock = 64;
  std::vector<std::unique_ptr<VoxelSum[]>> blocks_;
  std::size_t size_ = 0;
};

/// The cells of one worker, in the order of their first points: open addressing, at most half full. Points are taken in
/// batches, so that the memory of many is fetched at once.
class Cells {
 public:
  void add(const FusePoints& op, std::uint64_t key, std::int64_t point) {
    keys_[waiting_] = key;
    points_[waiting_] = point;
    if (++waiting_ == kBatch) flush(op);
  }

  void flush(const FusePoints& op) {
    for (int k = 0; k < waiting_; ++k) __builtin_prefetch(&slots_[home(keys_[k])]);
    for (int k = 0; k < waiting_; ++k) {
      if (keys_[k] != last_key_) {
        last_key_ = keys_[k];
        last_ = find(keys_[k], points_[k]);
        const char* sum = reinterpret_cast<const char*>(&sums_[last_]);
        __builtin_prefetch(sum, 1);
        __builtin_prefetch(sum + 64, 1);
      }
      cells_[k] = last_;
    }
    for (int k = 0; k < waiting_; ++k) sums_[cells_[k]].add(op, points_[k]);
    waiting_ = 0;
  }

  std::size_t size() const { return sums_.size(); }
  std::int64_t first(std::size_t cell) const { return firsts_[cell]; }
  const VoxelSum& sum(std::size_t cell) const { return sums_[cell]; }

 private:
  struct Slot {
    std::uint64_t key = Cell::kIgnored;
    Index cell = 0;
  };

  /// Four neighbours along x begin in one cache line.
  std::size_t home(std::uint64_t key) const {
    constexpr std::uint64_t kNeighbours = std::uint64_t{3} << 42;
    return (Cell::hash(key & ~kNeighbours) << 2 | (key & kNeighbours) >> 42) & (slots_.size() - 1);
  }
  Slot& slot(std::uint64_t key) {
    std::size_t at = home(key);
    while (slots_[at].key != key && slots_[at].key != Cell::kIgnored) at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }
  Index find(std::uint64_t key, std::int64_t point) {
    Slot& found = slot(key);
    if (found.key == key) return found.cell;
    const auto cell = static_cast<Index>(sums_.size());
    found = {key, cell};
    firsts_.push_back(point);
    sums_.add();
    if (2 * sums_.size() > slots_.size()) grow();
    return cell;
  }
  void grow() {
    std::vector<Slot> old(4 * slots_.size());
    old.swap(slots_);
    for (const Slot& moved : old) {
      if (moved.key != Cell::kIgnored) slot(moved.key) = moved;
    }
  }

  static constexpr int kBatch = 64;
  std::uint64_t keys_[kBatch];
  std::int64_t points_[kBatch];
  Index cells_[kBatch];
  int waiting_ = 0;

  std::vector<Slot> slots_ = std::vector<Slot>(256);
  std::vector<std::int64_t> firsts_;
  Sums sums_;
  std::uint64_t last_key_ = Cell::kIgnored;
  Index last_ = 0;
};

constexpr std::int64_t kBlock = 256;  // points whose keys are found together, lane by lane

/// The keys of a block of points; returns how many lie outside.
std::int64_t find_keys(const FusePoints& op, std::int64_t begin, std::int64_t size, std::uint64_t* keys) {
  std::int32_t x[kBlock], y[kBlock], z[kBlock], outside[kBlock], ignored[kBlock];
  const float* DPM_RESTRICT points = op.points.data + 3 * begin;
  const float* DPM_RESTRICT confidence = op.confidence.data + begin;
  const float voxel = op.voxel;
  std::int32_t outsiders = 0;
#pragma omp simd reduction(+ : outsiders)
  for (std::int64_t k = 0; k < size; ++k) {
    const Cell cell = Cell::of(points + 3 * k, confidence[k], voxel);
    x[k] = cell.axis[0], y[k] = cell.axis[1], z[k] = cell.axis[2];
    outside[k] = cell.outside, ignored[k] = cell.ignored;
    outsiders += cell.outside;
  }
#pragma omp simd
  for (std::int64_t k = 0; k < size; ++k) {
    keys[k] = Cell::key(static_cast<std::uint32_t>(x[k]), static_cast<std::uint32_t>(y[k]),
                        static_cast<std::uint32_t>(z[k]), outside[k] != 0, ignored[k] != 0);
  }
  return outsiders;
}

int threads_for(std::int64_t size) {
#ifdef _OPENMP
  return size > 1 << 14 ? std::clamp(omp_get_max_threads(), 1, 64) : 1;
#else
  (void)size;
  return 1;
#endif
}

}  // namespace

FuseResult fuse_points(const FusePoints& op) {
  constexpr std::uint8_t kNobody = 255;
  const std::int64_t size = op.size();
  const int workers = threads_for(size);
  const auto keys = uninitialised<std::uint64_t>(size);
  const auto owners = uninitialised<std::uint8_t>(size);
  Ranks firsts(size);
  std::int64_t voxels = 0, outside = 0;

#pragma omp parallel num_threads(workers) if (workers > 1)
  {
#pragma omp for schedule(static) reduction(+ : outside)
    for (std::int64_t begin = 0; begin < size; begin += kBlock) {
      const std::int64_t end = std::min(size, begin + kBlock);
      outside += find_keys(op, begin, end - begin, keys.get() + begin);
      for (std::int64_t i = begin; i < end; ++i) {
        owners[i] = keys[i] < Cell::kOutside ? owner_of(keys[i], static_cast<std::uint64_t>(workers)) : kNobody;
      }
    }

    // Every cell has one worker, who adds its points in their order. How many workers there are cannot be seen.
    Cells mine;
#pragma omp for schedule(static, 1)
    for (int worker = 0; worker < workers; ++worker) {
      for (std::int64_t i = 0; i < size; ++i) {
        if (owners[i] == worker) mine.add(op, keys[i], i);
      }
      mine.flush(op);
      for (std::size_t cell = 0; cell < mine.size(); ++cell) firsts.insert(mine.first(cell));
    }
#pragma omp single
    voxels = firsts.freeze();
    for (std::size_t cell = 0; cell < mine.size(); ++cell) mine.sum(cell).write(op, firsts.rank(mine.first(cell)));
  }
  return {voxels, outside};
}

}  // namespace dpm::cpu
