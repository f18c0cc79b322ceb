"""Virtual networks."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import libvirt

from libvirt_exporter.hypervisor.connection.session import Session
from libvirt_exporter.hypervisor.sources.object_lane import ObjectLane, flags, xml_root
from libvirt_exporter.model import Stats


class NetworksLane(ObjectLane):
    """Knows `network.<num>.*`."""

    name = "networks"
    prefix = "network"

    def list_all(self, session: Session) -> list[libvirt.virNetwork]:
        return session.conn.listAllNetworks()

    def figures(self, session: Session, uuid: str) -> Stats:
        """Whether it is active, its bridge and its way out; '' where it has none.

        Source: virNetworkIsActive, virNetworkGetXMLDesc.
        """
        network = session.conn.networkLookupByUUIDString(uuid)
        root = xml_root(network.XMLDesc())
        bridge, forward = root.find("bridge"), root.find("forward")
        return {
            "bridge": _attribute(bridge, "name"),
            "forward": _attribute(forward, "mode"),
            "active": bool(network.isActive()),
            **flags(session, network),
        }


def _attribute(element: Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")
