*** Settings ***
Documentation       A plan states what SRAM a training takes before anything is built, the run confirms it, and the board's limits are real.
Resource            resources/mcutrain.resource
Test Timeout        5 minutes


*** Test Cases ***
Planned Memory Equals Measured Memory On Every Board
    [Tags]    qemu    train
    FOR    ${board}    IN    m4-256k    m4-1m    m7-256k    m7-1m
        Train digits-biases On ${board}    steps=3    test=1    golden_steps=0    profile=False
        Memory Should Be As Planned
    END

Planned Memory Equals Measured Memory In Every Mode Of Training
    [Documentation]    Float errors are the largest, 16-bit master weights cost one byte a weight more than 8-bit ones.
    [Tags]    qemu    train
    Train digits-float On m4-256k    steps=3    test=1    golden_steps=0    profile=False
    Memory Should Be As Planned
    Train digits-stochastic On m4-256k    steps=3    test=1    golden_steps=0    profile=False
    Memory Should Be As Planned

A Plan Over Its Budget Is Refused With The Bytes It Needs
    [Tags]    host
    Training ${DIGITS} With Scheme full Should Fit On m4-256k
    Training ${DIGITS} With Scheme full Should Not Fit On m4-256k    budget=32,768

ResNet8 Does Not Train Whole In 256 KB
    [Tags]    host    needs-data
    Training ${RESNET8} With Scheme full Should Not Fit On the 256K Cortex-M4 board

A Word Written Past The End Of SRAM Fails The Run With Its Address
    [Tags]    qemu
    Change The Sources    src/runtime/episode.c    mct_line_begin("boot");
    ...    *(volatile uint32_t *)0x20040000u = 1; mct_line_begin("boot");
    Run Mcutrain    run    digits-biases    --board    m4-256k    --steps    1
    Command Should Fail With Exit Code 1 And One Line
    Error Should Say    memory fault at address 0x20040000
