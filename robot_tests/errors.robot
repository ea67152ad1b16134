*** Settings ***
Documentation       Bad input ends in one clear line and exit code 2, and leaves nothing behind.
Resource            resources/mcutrain.resource
Test Timeout        2 minutes
Test Tags           host


*** Test Cases ***
A Truncated Model File Is Refused
    ${size}=    Evaluate    os.path.getsize(r"${DIGITS}")
    FOR    ${kept}    IN    ${0}    ${size // 2}    ${size - 1}
        ${model}=    Copy Of ${DIGITS} Cut To ${kept} Bytes
        Run Mcutrain    plan    ${model}
        It Should Be Refused In One Line    digits.onnx
    END

A Model File With A Flipped Bit Is Refused
    FOR    ${byte}    IN    0    2    3
        ${model}=    Copy Of ${DIGITS} With Bit 7 Of Byte ${byte} Flipped
        Run Mcutrain    plan    ${model}
        It Should Be Refused In One Line    digits.onnx    damaged
    END

An Oversized Model File Is Refused
    ${model}=    Copy Of ${DIGITS} Cut To 67,108,865 Bytes
    Run Mcutrain    inspect    ${model}
    It Should Be Refused In One Line    digits.onnx    larger than the limit

A Damaged TensorFlow Lite File Is Refused
    [Tags]    needs-data
    ${file}=    Set Variable    %{MCUTRAIN_MODELS=}/${RESNET8}
    Skip If    not os.path.isfile(r"${file}")    MCUTRAIN_MODELS does not name a folder that holds ${RESNET8}
    ${size}=    Evaluate    os.path.getsize(r"${file}")
    ${cut}=    Copy Of ${file} Cut To ${size // 2} Bytes
    Run Mcutrain    plan    ${cut}
    It Should Be Refused In One Line    pretrainedResnet_quant.tflite    damaged
    FOR    ${byte}    IN    0    4    16
        ${model}=    Copy Of ${file} With Bit 7 Of Byte ${byte} Flipped
        Run Mcutrain    plan    ${model}
        It Should Be Refused In One Line    pretrainedResnet_quant.tflite    damaged
    END

A File That Is No Model Is Refused
    Run Mcutrain    inspect    ${CURDIR}/errors.robot
    It Should Be Refused In One Line    errors.robot    .tflite

A Model File That Is Not There Is Refused
    Run Mcutrain    plan    nowhere.onnx
    It Should Be Refused In One Line    nowhere.onnx

An Unknown Episode Is Refused With The Names There Are
    Run Mcutrain    run    digits-sparce
    It Should Be Refused In One Line    digits-sparce    digits-sparse

An Unknown Board Is Refused With The Names There Are
    Run Mcutrain    run    digits-sparse    --board    m5-256k
    It Should Be Refused In One Line    m5-256k    m4-256k    m7-1m
    Run Mcutrain    plan    ${DIGITS}    --board    m5-256k
    It Should Be Refused In One Line    m5-256k    m4-256k    m7-1m

A Layer That The Network Does Not Have Is Refused With Those It Has
    Run Mcutrain    run    digits-sparse    --scheme    b all; conv77
    It Should Be Refused In One Line    conv77    conv1

An Unknown Option Is Refused
    Run Mcutrain    run    digits-sparse    --bord    m4-256k
    It Should Be Refused In One Line    --bord

An Unknown Command Is Refused
    Run Mcutrain    trian    digits-sparse
    It Should Be Refused In One Line    trian
