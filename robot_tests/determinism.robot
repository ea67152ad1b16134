*** Settings ***
Documentation       The same episode leaves the same record, but for the seconds it took, however often it runs and however busy the machine is.
Resource            resources/mcutrain.resource
Test Timeout        5 minutes
Test Tags           emulator    train


*** Test Cases ***
Three Runs And One Under Full Load Leave The Same Record
    [Documentation]    The first two are built from nothing, each in a folder of its own: not even the firmware may differ.
    [Tags]    slow
    Train Episode    digits-sparse    ${BOARD_OR_M4}    steps=60    test=40    afresh=True
    Train Episode    digits-sparse    ${BOARD_OR_M4}    steps=60    test=40    afresh=True
    Train Episode    digits-sparse    ${BOARD_OR_M4}    steps=60    test=40
    Keep The Other Cores Busy
    Train Episode    digits-sparse    ${BOARD_OR_M4}    steps=60    test=40
    The Other Cores Should Still Be Busy
    All Records Should Be Identical
    Every Step Should Be Bit-Exact To Golden

Stochastic Rounding Comes From The Seed Alone
    Train digits-stochastic On ${BOARD_OR_M7} For 20 Steps
    Train digits-stochastic On ${BOARD_OR_M7} For 20 Steps
    All Records Should Be Identical
    Every Step Should Be Bit-Exact To Golden
