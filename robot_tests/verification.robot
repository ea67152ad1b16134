*** Settings ***
Documentation       Golden, the host and the boards do the same, bit for bit; where one does not, the operator that parts is named.
Resource            resources/mcutrain.resource
Test Timeout        5 minutes
Test Tags           train


*** Test Cases ***
Golden, The Host And Both Cores Agree At Every Step
    [Tags]    emulator    host    slow
    ${runners}=    Evaluate    ",".join(["golden", "host", *$BOARD_OR_BOTH])
    Run Mcutrain    verify    digits-sparse    --runners    ${runners}    --steps    200    --json
    All Runners Should Agree    golden    host    @{BOARD_OR_BOTH}

Golden And The Host Agree With Float Errors And Every Rounding
    [Tags]    host
    FOR    ${weights}    IN    master16    stochastic8    nearest8
        Run Mcutrain    verify    digits-sparse    --runners    golden,host    --json
        ...    --steps    100    --errors    f32    --weights    ${weights}
        All Runners Should Agree    golden    host
    END

ResNet8 Is The Same On Golden And The Host
    [Tags]    host    needs-data
    Run Mcutrain    verify    resnet8-noise    --runners    golden,host    --steps    10    --json
    All Runners Should Agree    golden    host

A Kernel That Is Wrong By One Rounding Is Named
    [Documentation]    One update of a bias truncates where it should round, in a copy of the sources.
    [Tags]    emulator    host    slow
    Change The Sources    src/kernels/update/update_bias.c    - mct_round_s32(    - (int32_t)(
    Run Mcutrain    verify    digits-sparse    --runners    golden,host,${BOARD_OR_M4}    --steps    20
    Command Should Fail With Exit Code 1 And One Line
    Error Should Say    golden and host differ first    golden and ${BOARD_OR_M4}    mct_update_bias_b16    step 0
