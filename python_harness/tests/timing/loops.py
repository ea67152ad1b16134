"""Assembly loops that run on a board's emulator, and what the timing model says a round of each takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emulators.helpers import FirmwareBuilder, one_inference
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.timing import CycleEstimate, ProfileEstimate, estimate_profile
from mcutrain.timing.memory import flash_memory

ROUNDS = 1000

_HEAD = """
#include "mcutrain/status.h"
mct_status run_loops(void);
#define MINIMAL_INFER run_loops
#include "minimal.h"
static void misbehave(void) {}
uint32_t room[2048] __attribute__((aligned(64)));
extern const uint32_t table[2048];
const uint32_t table[2048] __attribute__((aligned(64))) = {1};
"""

# r12 counts the rounds; r0, r1 and r2 point into separate parts of room, r10 to table in flash, r3 is 8, and floating point registers hold
# 1. The loop begins with a line of every cache.
_LOOP = """
__attribute__((naked, noipa)) void mct_op_{number:04d}(void)
{{
    __asm__ volatile("push {{r4-r11, lr}}\\n\\tvpush {{d8-d15}}\\n\\tmov.w r12, #{rounds}\\n\\tldr r0, =room\\n\\tadd.w r1, r0, #256\\n"
                     "\\tadd.w r2, r0, #512\\n\\tldr r10, =table\\n\\tmovs r3, #8\\n\\tmovs r4, #1\\n"
                     "\\t.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\\n\\tvmov.f32 s\\\\n, #1.0\\n\\t.endr\\n"
                     "\\tb 1f\\n\\t.ltorg\\n\\t.balign 64\\n"
                     "1:\\n{body}\\tsubs.w r12, r12, #1\\n\\tbne.w 1b\\n\\tvpop {{d8-d15}}\\n\\tpop {{r4-r11, pc}}\\n\\t.ltorg\\n");
}}
"""

_TAIL = """
__attribute__((noipa)) mct_status run_loops(void)
{{
    {calls}
    io.prediction = 0;
    return MCT_OK;
}}
"""


@dataclass(frozen=True)
class Loops:
    """Loops by name, run once."""

    estimate: ProfileEstimate
    names: tuple[str, ...]

    def cycles(self, name: str) -> float:
        """Estimated cycles of one round."""
        return self.of(name).cycles

    def of(self, name: str) -> CycleEstimate:
        """Estimated cycles of one round, with their range."""
        return self.estimate.mark(f"mct_op_{self.names.index(name):04d}").times(1 / ROUNDS)

    def stalls(self, name: str) -> CycleEstimate:
        """Cycles that one round waits for flash."""
        return self.estimate.stalls(f"mct_op_{self.names.index(name):04d}").times(1 / ROUNDS)


def run_loops(bodies: Mapping[str, str], board: str, firmware: FirmwareBuilder, *, in_flash: bool = False) -> Loops:
    """Run loops whose bodies are instructions separated by ';'."""
    functions = [
        _LOOP.format(number=number, rounds=ROUNDS, body="".join(f"\\t{line.strip()}\\n" for line in body.split(";")))
        for number, body in enumerate(bodies.values())
    ]
    calls = "".join(f"extern void mct_op_{number:04d}(void); mct_op_{number:04d}();" for number in range(len(bodies)))
    built = firmware(_HEAD + "".join(functions) + _TAIL.format(calls=calls), board)
    memory = flash_memory(built.board) if in_flash else None
    profile = QemuRunner(built, memory.caches if memory else None).run(one_inference(), profile=True).profile
    assert profile is not None
    return Loops(estimate_profile(profile, built.board.core, built.facts.functions, memory), tuple(bodies))
