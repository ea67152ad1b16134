*** Settings ***
Documentation       A training episode under Renode's own Robot server, with its keywords alone: neither mcutrain nor its Python is needed.
...
...                 Build what it runs, and run it:
...
...                 | ./mcutrain build digits-sparse --board m4-256k --output build/renode/m4-256k
...                 | ./mcutrain build digits-sparse --board m7-256k --output build/renode/m7-256k
...                 | renode-test emulation/renode/tests/episode.robot
...
...                 Firmware from elsewhere: ``--variable BUILD:FOLDER``, which has a folder for each board. One core alone: ``--include
...                 cortex-m4``. Another board of a core: ``--variable M4:m4-1m``. One board alone, as in the project's other suites:
...                 ``--variable BOARD:m7-1m``; the test of the other core then skips, and so do both where ``EMULATOR`` is another one.
Suite Setup         Skip If    $EMULATOR not in ("", "renode")    this suite is Renode's, not for ${EMULATOR}
Test Timeout        10 minutes


*** Variables ***
${BOARD}            ${EMPTY}
${EMULATOR}         ${EMPTY}
${M4}               m4-256k
${M7}               m7-256k
${RENODE}           ${CURDIR}/..
${BUILD}            ${CURDIR}/../../../build/renode
# Of the board's own clock, for the whole episode: that of digits-sparse takes 25 on a Cortex-M4.
${VIRTUAL SECONDS}  120


*** Test Cases ***
An Episode Ends Well On The Cortex-M4
    [Tags]    cortex-m4
    Skip If    not $BOARD.startswith("m4") and $BOARD    ${BOARD} has another core
    Run The Episode On ${{$BOARD or $M4}}

An Episode Ends Well On The Cortex-M7
    [Tags]    cortex-m7
    Skip If    not $BOARD.startswith("m7") and $BOARD    ${BOARD} has another core
    Run The Episode On ${{$BOARD or $M7}}


*** Keywords ***
Run The Episode On ${board}
    [Documentation]    The board says who it is, trains, and says that all is well; its program ends by itself, and reached for nothing that
    ...    the board does not have.
    Execute Command    $bin=@${BUILD}/${board}/firmware.elf
    Execute Command    $image=@${BUILD}/${board}/episode.image
    Execute Script    ${RENODE}/${board}.resc
    Create Log Tester    timeout=1
    Register Failing Log String    non existing peripheral
    Create Terminal Tester    sysbus.uart0    timeout=${VIRTUAL SECONDS}    defaultPauseEmulation=true
    Register Failing Uart String    @fault
    Wait For Line On Uart    @boot .*board=${board}    treatAsRegex=true
    Wait For Line On Uart    @end status=0
    Wait For Log Entry    the firmware ended with exit code 0
