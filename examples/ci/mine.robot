*** Settings ***
Documentation       What has to be true of mine.yaml, whoever changes it. Copy it beside the episode, and write your own limits.
Library             mcutrain.robot.McutrainLibrary    time_limit=10 minutes    emulator=${EMULATOR}
Test Timeout        15 minutes
Test Tags           emulator    train


*** Variables ***
${EMULATOR}         ${EMPTY}
${BOARD}            m4-256k
${EPISODE}          ${CURDIR}/mine.yaml


*** Test Cases ***
My Network Trains Within 64 KB
    Train Episode    ${EPISODE}    ${BOARD}    golden_steps=20
    The First 20 Steps Should Be Bit-Exact To Golden
    Peak SRAM Should Be At Most 65,536 Bytes
    Static SRAM Should Be What The Plan Says
    Stack Should Stay Within Its Reserve
    Instructions Per Step Should Be As Locked
