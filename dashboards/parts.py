"""What the dashboards have in common besides queries: variables, links, marks, colours."""

from __future__ import annotations

from typing import Final

from dashboards.grafana import (
    Json,
    annotation,
    by_name,
    cell,
    choice_variable,
    data_link,
    datasource_variable,
    label_variable,
    named_variable,
    value_mapping,
)
from dashboards.queries import BY_VM, HOST, named, select
from libvirt_exporter.model import STATES

# Variables

_SHARED: Final = ("datasource", "job", "instance", "top")

NAME_AND_UUID: Final = '/display_name="(?<text>.*?)",(?:domain|instance)=".*uuid="(?<value>[^"]*)"/'
"""Out of a series as Grafana writes it: what is shown of a VM, and what is chosen."""


def variables() -> list[Json]:
    """Those of every dashboard."""
    return [
        datasource_variable(),
        label_variable("job", "Job", "libvirt_up"),
        label_variable("instance", "Instance", 'libvirt_up{job=~"$job"}'),
        choice_variable("top", "Top", ("5", "10", "20", "50", "100", "200"), "10"),
    ]


def vm_variable() -> Json:
    """One VM, shown by its display name."""
    names = f"last_over_time(domain:libvirt_display_name:info{{{HOST}}}[$__range])"
    return named_variable("uuid", "VM", names, NAME_AND_UUID)


# Links


def host_link(instance: str) -> Json:
    """To the page of a host; `instance` is Grafana's expression of it."""
    return data_link(
        "Host", "libvirt-host", variables=("datasource", "job", "top"), instance=instance
    )


def vm_link(uuid: str) -> Json:
    """To the page of a VM, on whichever host it is."""
    return data_link("VM", "libvirt-vm", variables=_SHARED, uuid=uuid)


LINE_LINKS: Final = (vm_link("__field.labels.uuid"), host_link("__field.labels.instance"))
"""From a line or bar of a VM."""
HOST_LINE_LINKS: Final = (host_link("__field.labels.instance"),)
"""From a line or bar of a host."""


def identity_columns() -> list[Json]:
    """Looks of the columns VM, Instance and UUID of a table, with their links."""
    return [
        by_name("VM", links=[vm_link("__data.fields.UUID")], **{"custom.width": 200}),
        by_name("Instance", links=[host_link("__value.raw")], **{"custom.width": 180}),
        by_name("UUID", **{"custom.width": 310}),
    ]


# Marks


def event_marks(scope: str = HOST) -> list[Json]:
    """What happens to VMs, at the time of the event and not of the scrape that saw it."""

    def events(name: str, matcher: str, colour: str, metric: str = "last_event") -> Json:
        time = select(f"libvirt_domain_{metric}_timestamp_seconds", matcher, scope=scope)
        expression = named(f"topk($top, max by ({BY_VM}) ({time})) * 1000")
        return annotation(name, expression, text="{{display_name}} on {{instance}}", colour=colour)

    return [
        events("Watchdog", 'event="watchdog"', "orange"),
        events("I/O error", 'event="io_error"', "red"),
        events("Crash or panic", 'event=~"crash|panic"', "dark-red"),
        events(
            "Migration ended",
            'operation=~"migration_in|migration_out"',
            "blue",
            metric="last_job_completed",
        ),
    ]


# Colours

STATE_COLOURS: Final = {
    "nostate": "text",
    "running": "green",
    "blocked": "blue",
    "paused": "orange",
    "shutdown": "yellow",
    "shutoff": "#808080",
    "crashed": "red",
    "pmsuspended": "purple",
}
STATE_NUMBERS: Final = {
    str(number): (state, STATE_COLOURS[state]) for number, state in enumerate(STATES)
}
"""Text and colour of what `queries.state_number` gives."""
YES_NO: Final = {"0": ("no", "red"), "1": ("yes", "green")}


def state_column() -> Json:
    """The look of a column of names of states."""
    colours = value_mapping({state: (state, colour) for state, colour in STATE_COLOURS.items()})
    return by_name("State", mappings=[colours], **cell("color-text"))


def time_column(name: str) -> Json:
    """The look of a column of Unix times in milliseconds."""
    return by_name(name, unit="dateTimeAsIso")
