# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy: in the form of its schema, and of exactly what the running node has."""

import xml.etree.ElementTree as ElementTree

import pytest
from dpm_ros import interface
from harness import ROOT

POLICY = ElementTree.parse(ROOT / "launch" / "dpm.policy.xml").getroot()
(PROFILE,) = POLICY.iter("profile")

# What a node hears only where parameters say so: compressed images, simulated time, odometry from /tf.
SOMETIMES = {"/image/compressed", "/clock", "/tf"}


def allowed(rule, permission):
    """Absolute names."""
    return {absolute(name.text) for group in PROFILE.findall(rule) if group.get(permission) for name in group}


def absolute(name):
    if name.startswith("~/"):
        name = f"{PROFILE.get('node')}/{name[2:]}"
    return name if name.startswith("/") else f"{PROFILE.get('ns')}{name}"


def test_it_is_built_as_the_schema_says():
    """policy > enclaves > enclave path > profiles > profile ns node > topics, services, of ALLOW and DENY."""
    assert (POLICY.tag, POLICY.get("version")) == ("policy", "0.2.0")
    assert [child.tag for child in POLICY] == ["enclaves"]
    (enclave,) = POLICY[0]
    assert (enclave.tag, enclave.get("path")) == ("enclave", "/dpm")
    assert [child.tag for child in enclave] == ["profiles"]
    for rule in PROFILE:
        entry, permissions = {
            "topics": ("topic", {"publish", "subscribe"}),
            "services": ("service", {"reply", "request"}),
        }[rule.tag]
        assert len(rule)
        assert {child.tag for child in rule} == {entry}
        assert set(rule.attrib) <= permissions
        assert set(rule.attrib.values()) == {"ALLOW"}


def test_nothing_is_allowed_by_a_pattern():
    assert not [name.text for rule in PROFILE for name in rule if set(name.text) & set("*?[")]


def test_it_names_every_topic_and_service_of_the_interface():
    assert {absolute(output.name) for output in interface.OUTPUTS} <= allowed("topics", "publish")
    assert {absolute(topic.name) for topic in interface.INPUTS} <= allowed("topics", "subscribe")
    assert {absolute(service.name) for service in interface.SERVICES} <= allowed("services", "reply")


@pytest.fixture(scope="module")
def asked(graph):
    """A peer that can ask about the running node."""
    graph.node()
    peer = graph.peer("guard")

    def seen():
        services = peer.node.get_service_names_and_types_by_node("dpm", "/")
        return "/dpm/reset" in dict(services)

    peer.until(lambda: "dpm" in peer.node.get_node_names() and seen(), "the node does not come")
    peer.until(lambda: peer.node.count_subscribers("/image"), "the node does not read")
    return peer.node


def names(found):
    return {name for name, _ in found}


def test_it_allows_what_the_running_node_has_and_nothing_else(asked):
    published = names(asked.get_publisher_names_and_types_by_node("dpm", "/"))
    heard = names(asked.get_subscriber_names_and_types_by_node("dpm", "/"))
    offered = names(asked.get_service_names_and_types_by_node("dpm", "/"))
    called = names(asked.get_client_names_and_types_by_node("dpm", "/"))
    assert published == allowed("topics", "publish")
    assert heard | SOMETIMES == allowed("topics", "subscribe")
    assert offered == allowed("services", "reply")
    assert not called
