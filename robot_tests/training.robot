*** Settings ***
Documentation       Networks train on emulated boards, within the board's memory, with the golden reference's bits at every step.
Resource            resources/mcutrain.resource
Test Timeout        8 minutes
Test Tags           emulator    train


*** Variables ***
@{LOCKED}           m4-256k    m7-256k


*** Test Cases ***
Train Digits On Both Cores
    [Documentation]    The network meets turned, pale and noisy digits at 56.75 %, and trains itself back.
    [Tags]    slow
    FOR    ${board}    IN    @{BOARD_OR_BOTH}
        Digits Should Be Learned On ${board}
    END

Train ResNet8 For Twenty Steps In 192 KB
    [Tags]    slow    needs-data
    Train Episode    resnet8-noise    ${BOARD_OR_M7}    steps=20    golden_steps=20    test=20
    Every Step Should Be Bit-Exact To Golden
    Peak SRAM Should Be At Most 196,608 Bytes
    Memory Should Be As Planned


*** Keywords ***
Digits Should Be Learned On ${board}
    Train digits-sparse On ${board} For 2000 Steps
    Accuracy Should Rise From 56.75 % To At Least 85 %
    Every Step Should Be Bit-Exact To Golden
    Peak SRAM Should Be At Most 49,152 Bytes
    Memory Should Be As Planned
    IF    $board in $LOCKED    Instructions Per Step Should Be As Locked
