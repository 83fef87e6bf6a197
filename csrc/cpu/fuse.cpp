// SPDX-License-Identifier: Apache-2.0
#ifdef _OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <vector>

#include "dpm/operations.h"

namespace dpm::cpu {
namespace {

/// Rows that stay where they are while more are added.
template <class Row>
class Rows {
 public:
  std::size_t size() const { return size_; }
  Row& operator[](std::size_t k) { return blocks_[k / kBlock][k % kBlock]; }
  const Row& operator[](std::size_t k) const { return blocks_[k / kBlock][k % kBlock]; }
  Row& add() {
    if (size_++ % kBlock == 0) blocks_.emplace_back().reserve(kBlock);
    return blocks_.back().emplace_back();
  }

 private:
  static constexpr std::size_t kBlock = 64;
  std::vector<std::vector<Row>> blocks_;
  std::size_t size_ = 0;
};

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

/// 4 × 4 × 4 neighbouring cells. Points next to each other in an image mostly share one, so that the search in a table
/// is for bricks, one for several points; the cells in a brick are looked up by their place.
struct Brick {
  static constexpr std::uint64_t kLow = 3;  // what a cell's place in its brick takes of each axis
  static constexpr std::uint64_t kPlace = kLow << 42 | kLow << 21 | kLow;

  std::uint32_t cells[64] = {};  // their numbers, from 1; 0 for those without a point

  static std::uint64_t key(std::uint64_t cell) { return cell < Cell::kOutside ? cell & ~kPlace : Cell::kIgnored; }
  static std::uint8_t place(std::uint64_t cell) {
    return static_cast<std::uint8_t>((cell >> 42 & kLow) << 4 | (cell >> 21 & kLow) << 2 | (cell & kLow));
  }

  /// Which of some workers has a brick. Neighbouring bricks stay together, so that a worker reads memory in runs.
  static std::size_t owner(std::uint64_t key, std::uint64_t workers) {
    const std::uint64_t neighbourhood = key & ~(kPlace << 1);
    return ((neighbourhood * 0x9e3779b97f4a7c15u >> 32) * workers) >> 32;
  }
};

constexpr std::int64_t kLanes = 256, kChunk = 1 << 14;

/// The keys of at most kLanes points, found lane by lane; returns how many lie outside.
std::int64_t find_keys(const FusePoints& op, std::int64_t begin, std::int64_t size, std::uint64_t* keys) {
  std::int32_t x[kLanes], y[kLanes], z[kLanes], outside[kLanes], ignored[kLanes];
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

/// Points in a row whose cells are in one brick.
struct Run {
  std::uint64_t brick;  // its key
  std::int64_t begin;   // first point
  std::int32_t size;    // at most kLanes
};

/// Where runs of equal keys begin, and where the last ends; returns how many there are. Without a branch at their ends,
/// which cannot be foreseen.
std::size_t find_runs(const std::uint64_t* keys, std::int64_t size, std::int64_t* begins) {
  std::size_t runs = 0;
  for (std::int64_t k = 0; k < size; ++k) {
    begins[runs] = k;  // stays only where a run begins
    runs += k == 0 || keys[k] != keys[k - 1];
  }
  begins[runs] = size;
  return runs;
}

/// Some points in a row: the place of each in its brick, and their runs, sorted by the workers that own the bricks.
class Chunk {
 public:
  /// Takes the points from begin to end, at most kChunk; returns how many lie outside.
  std::int64_t fill(const FusePoints& op, std::int64_t begin, std::int64_t end, std::size_t workers) {
    begin_ = begin;
    places_.resize(static_cast<std::size_t>(end - begin));
    runs_.resize(workers);
    std::int64_t outside = 0;
    for (std::int64_t first = begin; first < end; first += kLanes) {
      outside += add(op, first, std::min(kLanes, end - first));
    }
    return outside;
  }

  const std::vector<Run>& runs(std::size_t worker) const { return runs_[worker]; }
  const std::uint8_t* places(const Run& run) const { return places_.data() + (run.begin - begin_); }

 private:
  std::int64_t add(const FusePoints& op, std::int64_t first, std::int64_t size) {
    std::uint64_t keys[kLanes];
    const std::int64_t outside = find_keys(op, first, size, keys);
    std::uint8_t* places = places_.data() + (first - begin_);
#pragma omp simd
    for (std::int64_t k = 0; k < size; ++k) {
      places[k] = Brick::place(keys[k]);
      keys[k] = Brick::key(keys[k]);
    }
    std::int64_t begins[kLanes + 1];
    const std::size_t runs = find_runs(keys, size, begins);
    for (std::size_t r = 0; r < runs; ++r) {
      const std::uint64_t brick = keys[begins[r]];
      if (brick == Cell::kIgnored) continue;
      const auto length = static_cast<std::int32_t>(begins[r + 1] - begins[r]);
      runs_[Brick::owner(brick, runs_.size())].push_back({brick, first + begins[r], length});
    }
    return outside;
  }

  std::int64_t begin_ = 0;
  std::vector<std::uint8_t> places_;
  std::vector<std::vector<Run>> runs_;
};

/// The cells of one worker, in the order of their first points. Points are taken in batches, so that the memory of many
/// is fetched at once.
class Cells {
 public:
  void add(const FusePoints& op, const Chunk& chunk, const std::vector<Run>& runs) {
    for (std::size_t begin = 0; begin < runs.size(); begin += kBatch) {
      add(op, chunk, runs.data() + begin, std::min(kBatch, runs.size() - begin));
    }
  }

  std::size_t size() const { return sums_.size(); }
  std::int64_t first(std::size_t cell) const { return firsts_[cell]; }
  const VoxelSum& sum(std::size_t cell) const { return sums_[cell]; }

 private:
  static constexpr std::size_t kBatch = 32;

  struct Slot {
    std::uint64_t key = Cell::kIgnored;
    Brick* brick = nullptr;
  };

  void add(const FusePoints& op, const Chunk& chunk, const Run* runs, std::size_t size) {
    Brick* bricks[kBatch];
    for (std::size_t r = 0; r < size; ++r) __builtin_prefetch(&slots_[home(runs[r].brick)]);
    for (std::size_t r = 0; r < size; ++r) {
      bricks[r] = find(runs[r].brick);
      for (int line = 0; line < 4; ++line) __builtin_prefetch(bricks[r]->cells + 16 * line);
    }

    VoxelSum* sums[kBatch * kLanes];
    VoxelSum** next = sums;
    for (std::size_t r = 0; r < size; ++r) {
      const std::uint8_t* places = chunk.places(runs[r]);
      for (std::int32_t k = 0; k < runs[r].size; ++k) {
        std::uint32_t& cell = bricks[r]->cells[places[k]];
        if (cell == 0) cell = create(runs[r].begin + k);
        VoxelSum* sum = *next++ = &sums_[cell - 1];
        __builtin_prefetch(sum, 1);
        __builtin_prefetch(reinterpret_cast<const char*>(sum) + 64, 1);
      }
    }

    next = sums;
    for (std::size_t r = 0; r < size; ++r) {
      for (std::int32_t k = 0; k < runs[r].size; ++k) (*next++)->add(op, runs[r].begin + k);
    }
  }

  /// A new cell's number.
  std::uint32_t create(std::int64_t first_point) {
    firsts_.push_back(first_point);
    sums_.add();
    return static_cast<std::uint32_t>(sums_.size());
  }

  // Bricks lie in a table of open addressing that is at most half full.
  std::size_t home(std::uint64_t key) const { return Cell::hash(key) & (slots_.size() - 1); }
  Slot& slot(std::uint64_t key) {
    std::size_t at = home(key);
    while (slots_[at].key != key && slots_[at].key != Cell::kIgnored) at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }
  Brick* find(std::uint64_t key) {
    Slot& found = slot(key);
    if (found.key == key) return found.brick;
    Brick* brick = &bricks_.add();
    found = {key, brick};
    if (2 * bricks_.size() > slots_.size()) grow();
    return brick;
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& moved : old) {
      if (moved.key != Cell::kIgnored) slot(moved.key) = moved;
    }
  }

  std::vector<Slot> slots_ = std::vector<Slot>(256);
  Rows<Brick> bricks_;
  std::vector<std::int64_t> firsts_;
  Rows<VoxelSum> sums_;
};

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
  const std::int64_t size = op.size();
  const int workers = threads_for(size);
  std::vector<Chunk> chunks(static_cast<std::size_t>((size + kChunk - 1) / kChunk));
  Ranks firsts(size);
  std::int64_t voxels = 0, outside = 0;

#pragma omp parallel num_threads(workers) if (workers > 1)
  {
#pragma omp for schedule(static) reduction(+ : outside)
    for (std::size_t c = 0; c < chunks.size(); ++c) {
      const std::int64_t begin = static_cast<std::int64_t>(c) * kChunk;
      outside += chunks[c].fill(op, begin, std::min(size, begin + kChunk), static_cast<std::size_t>(workers));
    }

    // Every cell has one worker, who adds its points in their order. How many workers there are cannot be seen.
    Cells mine;
#pragma omp for schedule(static, 1)
    for (int worker = 0; worker < workers; ++worker) {
      for (const Chunk& chunk : chunks) mine.add(op, chunk, chunk.runs(static_cast<std::size_t>(worker)));
      for (std::size_t cell = 0; cell < mine.size(); ++cell) firsts.insert(mine.first(cell));
    }
#pragma omp single
    voxels = firsts.freeze();
    for (std::size_t cell = 0; cell < mine.size(); ++cell) mine.sum(cell).write(op, firsts.rank(mine.first(cell)));
  }
  return {voxels, outside};
}

}  // namespace dpm::cpu
