*** Settings ***
Documentation       Networks train on emulated boards, within the board's memory, with the golden reference's bits at every step.
Resource            resources/mcutrain.resource
Test Timeout        5 minutes
Test Tags           qemu    train


*** Test Cases ***
Train Digits On The 256K Cortex-M4 Board
    [Tags]    slow
    Train digits-sparse On the 256K Cortex-M4 board    golden_steps=2000
    Digits Should Have Been Learned

Train Digits On The 256K Cortex-M7 Board
    [Tags]    slow
    Train digits-sparse On the 256K Cortex-M7 board    golden_steps=2000
    Digits Should Have Been Learned

Train ResNet8 For Twenty Steps On The 256K Cortex-M7 Board
    [Tags]    slow    needs-data
    Train resnet8-noise On the 256K Cortex-M7 board    steps=20    golden_steps=20    test=20
    Every Step Should Be Bit-Exact To Golden
    Peak SRAM Should Be At Most 196,608 Bytes
    Memory Should Be As Planned


*** Keywords ***
Digits Should Have Been Learned
    [Documentation]    The network meets turned, pale and noisy digits at 56.75 %, and trains itself back.
    Accuracy Should Rise From 56.75 % To At Least 85 %
    Every Step Should Be Bit-Exact To Golden
    Peak SRAM Should Be At Most 49,152 Bytes
    Memory Should Be As Planned
    Instructions Per Step Should Be As Locked
