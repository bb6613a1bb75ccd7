# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every column of every table of a snapshot, said once.

What loads is checked against it, ``pageowner sql --help`` and docs/tables.md are made of it. A column that an
older snapshot lacks is null; one that is not here is not loaded. Names and meanings stay; fields are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

PAGES, BYTES, NS = "pages", "bytes", "ns"


@dataclass(frozen=True)
class Field:
    """One column: its table and name, the name of its polars type, its unit ("" for none), its title in
    text and a line of help."""

    table: str
    name: str
    kind: str
    unit: str
    help: str
    title: str = ""

    @property
    def dtype(self) -> pl.DataType:
        """The polars type."""
        import polars

        dtype: pl.DataType = getattr(polars, self.kind)()
        return dtype


TABLES = {
    "usage": "all of memory: pages by owner, stack, node, zone and order",
    "owners": "who `id` is",
    "names": "what owners are called on every host: to join snapshots of many",
    "stacks": "what `stack` is",
    "pages": "every page, in runs of one owner (only where recorded)",
    "records": "every page, in runs that are alike in all below",
    "allocations": "what `allocation` is: who asked for pages, how, and from where",
    "states": "what `state` is: where pages lie and how they are",
    "zones": "nodes and zones",
    "counters": "the kernel's own counters beside ours",
    "layers": "what each layer did",
    "by-process": "memory of processes, from their page tables",
    "by-cgroup": "pages charged to cgroups",
    "by-node": "pages of each kind on each node",
    "by-mount": "page cache by file system",
    "by-place": "where pages lie and since when, in runs",
    "by-obstacle": "pages that cannot be moved, in runs",
    "by-unit": "memory blocks and CMA areas",
}
"""The tables and what they hold. In SQL ``by-process`` is ``by_process``."""

RECORD_TABLES = ("records", "allocations", "states")
"""Those that a scan makes, and a snapshot has, only where single records are wanted."""

_PAGES_OF = "a page has 4096 bytes"
FIELDS = (
    Field("usage", "id", "Int64", "", "owner: key in owners"),
    Field("usage", "stack", "Int64", "", "stack of the allocation: key in stacks; 0: not recorded"),
    Field("usage", "node", "Int16", "", "NUMA node"),
    Field("usage", "zone", "Int8", "", "zone number: zone_index in zones"),
    Field("usage", "order", "Int8", "", "order of the folio or block that the pages are part of"),
    Field("usage", "pages", "Int64", PAGES, _PAGES_OF),
    Field("usage", "youngest_ns", "UInt64", NS, "last allocation, after boot; 0: not recorded", "youngest"),
    Field("usage", "oldest_ns", "UInt64", NS, "first allocation that survived, after boot", "oldest"),
    Field("usage", "reclaimable", "Int64", PAGES, "of these, page cache that nobody maps, holds or locks"),
    Field("owners", "id", "Int64", "", "key: a hash of word and owner, see names for one that joins boots"),
    Field("owners", "word", "String", "", "kind: the word that owner lines begin with", "kind"),
    Field("owners", "owner", "String", "", "its name: cache, file, process, function, …"),
    Field("owners", "pages", "Int64", PAGES, "all its pages"),
    Field("names", "id", "Int64", "", "owner: key in owners"),
    Field("names", "name", "String", "", "without process ids, inodes of tmpfs, offsets and addresses"),
    Field("names", "key", "Int64", "", "a hash of kind and name: the same on every host, after every boot"),
    Field("stacks", "stack", "Int64", "", "key: a hash of functions, the same on every host"),
    Field("stacks", "frames", "String", "", "frames as the kernel prints them, a line each, innermost first"),
    Field("stacks", "functions", "String", "", "the same without offsets: `name` or `name [module]`"),
    Field("pages", "pfn", "Int64", "", "first page frame of the run"),
    Field("pages", "n", "Int64", PAGES, "pages of the run"),
    Field("pages", "word", "String", "", "kind", "kind"),
    Field("pages", "owner", "String", "", "owner"),
    Field("pages", "key", "UInt64", "", "the layer's own key of the owner, of this boot only"),
    Field("records", "pfn", "Int64", "", "first page frame of the run"),
    Field("records", "n", "Int64", PAGES, "pages of the run"),
    Field("records", "id", "Int64", "", "owner: key in owners"),
    Field("records", "allocation", "Int32", "", "key in allocations; null: not recorded"),
    Field("records", "state", "Int32", "", "key in states"),
    Field("records", "ts_nsec", "UInt64", NS, "when allocated, after boot", "allocated"),
    Field("records", "free_ts_nsec", "UInt64", NS, "when freed before that, after boot", "freed"),
    Field("records", "head", "Boolean", "", "whether report has a record that begins here"),
    Field("records", "line", "String", "", "its owner line"),
    Field("allocations", "allocation", "Int32", "", "key, of this snapshot only", "number"),
    Field("allocations", "order", "Int8", "", "of the block"),
    Field("allocations", "gfp_mask", "UInt32", "", "what was asked for"),
    Field("allocations", "gfp", "String", "", "the same in words: GFP_KERNEL|__GFP_ZERO"),
    Field("allocations", "mobility", "String", "", "migrate type that the mask asks for"),
    Field("allocations", "pid", "Int32", "", "thread"),
    Field("allocations", "tgid", "Int32", "", "process"),
    Field("allocations", "comm", "String", "", "its name"),
    Field("allocations", "stack", "Int64", "", "key in stacks; 0: none"),
    Field("allocations", "frames", "String", "", "frames as the kernel prints them, a line each"),
    Field("allocations", "migrated", "String", "", "reason of the last migration; null: none"),
    Field("states", "state", "Int32", "", "key, of this snapshot only", "number"),
    Field("states", "node", "Int16", "", "NUMA node"),
    Field("states", "zone", "Int8", "", "zone number: zone_index in zones"),
    Field("states", "order", "Int8", "", "of the folio or free block"),
    Field("states", "migrate_type", "String", "", "of the pageblock", "migrate type"),
    Field("states", "cgroup", "String", "", "path of the cgroup that the folio is charged to"),
    Field("states", "cgroup_state", "String", "", "online or dying", "cgroup is"),
    Field("states", "cma", "String", "", "CMA area"),
    Field("states", "flags_text", "String", "", "page flags as printed; null inside a block", "flags"),
    Field("states", "charged", "String", "", "what the kernel prints of the charge"),
    Field("zones", "node", "Int32", "", "NUMA node"),
    Field("zones", "zone", "String", "", "its name: DMA32, Normal, …"),
    Field("zones", "zone_index", "Int32", "", "its number in the node", "number"),
    Field("zones", "address", "UInt64", "", "of its struct zone"),
    Field("zones", "start", "Int64", "", "first page frame"),
    Field("zones", "spanned", "Int64", PAGES, "from the first to the last page frame"),
    Field("zones", "present", "Int64", PAGES, "without holes"),
    Field("zones", "managed", "Int64", PAGES, "by the buddy allocator: without reserved ones"),
    Field("counters", "name", "String", "", "as in /proc/meminfo, where it is there"),
    Field("counters", "kernel", "Int64", PAGES, "what the kernel counts"),
    Field("counters", "ours", "Int64", PAGES, "what our pages sum to"),
    Field("counters", "formula", "String", "", "which of our pages"),
    Field("counters", "unexplained", "Int64", PAGES, "kernel - ours"),
    Field("layers", "word", "String", "", "kind", "kind"),
    Field("layers", "ok", "Boolean", "", "whether it worked on this source"),
    Field("layers", "why", "String", "", "if not, why"),
    Field("layers", "stale", "Int64", PAGES, "listed by an owner, but free or of another type"),
    Field("layers", "users", "Int64", PAGES, "used by it, but owned by a stronger layer"),
    Field("by-process", "process", "String", "", "pid and name"),
    Field("by-process", "rss", "Int64", PAGES, "resident"),
    Field("by-process", "pss", "Int64", PAGES, "resident, shared ones in proportion"),
    Field("by-process", "uss", "Int64", PAGES, "resident and mapped only here"),
    Field("by-process", "hugetlb", "Int64", PAGES, "of hugetlbfs, which rss does not count"),
    Field("by-cgroup", "cgroup", "String", "", "its path"),
    Field("by-cgroup", "state", "String", "", "online or dying"),
    Field("by-cgroup", "pages", "Int64", PAGES, "charged to it"),
    Field("by-cgroup", "pinned_by", "String", "", "kinds of these, most pages first", "pinned by"),
    Field("by-node", "node", "Int32", "", "NUMA node"),
    Field("by-node", "kind", "String", "", "kind"),
    Field("by-node", "pages", "Int64", PAGES, _PAGES_OF),
    Field("by-mount", "mount", "String", "", "mount points and device"),
    Field("by-mount", "pages", "Int64", PAGES, "in the page cache"),
    Field("by-mount", "kinds", "String", "", "kinds of these, most pages first"),
    Field("by-place", "pfn", "Int64", "", "first page frame of the run"),
    Field("by-place", "n", "Int64", PAGES, "pages of the run"),
    Field("by-place", "node", "Int16", "", "NUMA node"),
    Field("by-place", "zone", "Int8", "", "zone number: zone_index in zones"),
    Field("by-place", "block", "Int8", "", "order of a pageblock"),
    Field("by-place", "mobility", "String", "", "migrate type of the pageblock"),
    Field("by-place", "process", "String", "", "pid and name of who allocated; null: not recorded"),
    Field("by-place", "age", "Int32", "s", "at least so long before the last allocation; null: not recorded"),
    Field("by-obstacle", "pfn", "Int64", "", "first page frame of the run"),
    Field("by-obstacle", "n", "Int64", PAGES, "pages of the run"),
    Field("by-obstacle", "id", "Int64", "", "owner: key in owners"),
    Field("by-obstacle", "why", "String", "", "kind: it never moves; else pinned, referenced, buffers"),
    Field("by-obstacle", "stack", "Int64", "", "stack of the allocation: key in stacks; 0: not recorded"),
    Field("by-unit", "unit", "String", "", "block (of memory, to be taken offline) or cma"),
    Field("by-unit", "name", "String", "", "memory7; of a CMA area, its name"),
    Field("by-unit", "pfn", "Int64", "", "first page frame"),
    Field("by-unit", "n", "Int64", PAGES, "all its page frames"),
    Field("by-unit", "state", "String", "", "of a block: online, offline or changing"),
)


def fields_of(table: str) -> list[Field]:
    """The fields of one table, in order; empty for a table that is not known."""
    return [field for field in FIELDS if field.table == table]


def title_of(table: str, name: str) -> str:
    """What a column is called where people read it: its title, else its name."""
    return next((field.title for field in fields_of(table) if field.name == name and field.title), name)


def sql_name(table: str) -> str:
    """The table's name in SQL."""
    return table.replace("-", "_")


def help_text() -> str:
    """All tables and columns as text, for ``--help``."""
    lines = ["tables and columns:"]
    for table, what in TABLES.items():
        lines.append(f"  {sql_name(table)}: {what}")
        for field in fields_of(table):
            unit = f" [{field.unit}]" if field.unit else ""
            lines.append(f"    {field.name:<12} {field.help}{unit}")
    return "\n".join(lines)


def markdown() -> str:
    """The same as docs/tables.md."""
    lines = [
        "# Tables of a snapshot",
        "",
        "What `pageowner record` saves, and `pageowner sql` and `pageowner export` work on. Made from",
        "`src/pageowner/snapshot/fields.py`: change it there. Columns are only ever added; one that an older",
        "snapshot lacks is null. Keys (`id`, `stack`) are hashes of names: they join across hosts and boots.",
        "",
        "Damage is told by the digests in `manifest.json`. A snapshot that somebody made to do harm, digests",
        "and all, can still end the process that reads it: polars asks for more memory than there is.",
    ]
    for table, what in TABLES.items():
        lines += ["", f"## {sql_name(table)}", "", f"{what[0].upper()}{what[1:]}.", ""]
        lines += ["| column | type | unit | |", "|---|---|---|---|"]
        lines += [f"| `{f.name}` | {f.kind} | {f.unit} | {f.help} |" for f in fields_of(table)]
    return "\n".join(lines) + "\n"
