*** Settings ***
Documentation       A plan states what SRAM a training takes before anything is built, the run confirms it, and the board's limits are real.
Resource            resources/mcutrain.resource
Test Timeout        5 minutes


*** Test Cases ***
Planned Memory Equals Measured Memory On Every Board
    [Tags]    emulator    train
    FOR    ${board}    IN    @{BOARD_OR_ALL}
        Train Episode    digits-biases    ${board}    steps=3    test=1    golden_steps=0    profile=False
        Memory Should Be As Planned
    END

Planned Memory Equals Measured Memory In Every Mode Of Training
    [Documentation]    Float errors are the largest, 16-bit master weights cost one byte a weight more than 8-bit ones.
    [Tags]    emulator    train
    Train Episode    digits-float    ${BOARD_OR_M4}    steps=3    test=1    golden_steps=0    profile=False
    Memory Should Be As Planned
    Train Episode    digits-stochastic    ${BOARD_OR_M4}    steps=3    test=1    golden_steps=0    profile=False
    Memory Should Be As Planned

A Plan Over Its Budget Is Refused With The Bytes It Needs
    [Tags]    host
    Training ${DIGITS} With Scheme full Should Fit On m4-256k
    Training ${DIGITS} With Scheme full Should Not Fit In 32,768 Bytes On m4-256k

ResNet8 Does Not Train Whole In 256 KB
    [Tags]    host    needs-data
    Training ${RESNET8} With Scheme full Should Not Fit On the 256K Cortex-M4 board

A Word Written Past The End Of SRAM Fails The Run With Its Address
    [Tags]    emulator
    ${end}=    Evaluate    f"{0x20000000 + mcutrain.boards.load_board('${BOARD_OR_M4}').sram_bytes:#010x}"    modules=mcutrain.boards
    Change The Sources    src/runtime/episode.c    mct_line_begin("boot");
    ...    *(volatile uint32_t *)${end}u = 1; mct_line_begin("boot");
    Run Mcutrain    run    digits-biases    --board    ${BOARD_OR_M4}    --steps    1
    Command Should Fail With Exit Code 1 And One Line
    Error Should Say    memory fault at address ${end}
