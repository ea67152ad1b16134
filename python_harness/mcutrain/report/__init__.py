"""Reports on training episodes: one HTML page, JSON, terminal summary, merged JUnit. Reads records only."""

from mcutrain.report.html import write_report
from mcutrain.report.json_report import dump_records, load_records, write_json
from mcutrain.report.junit import JunitTotals, merge_junit
from mcutrain.report.summary import Status, Verdict, judge
from mcutrain.report.text import render_episode, render_table

__all__ = [
    "JunitTotals",
    "Status",
    "Verdict",
    "dump_records",
    "judge",
    "load_records",
    "merge_junit",
    "render_episode",
    "render_table",
    "write_json",
    "write_report",
]
