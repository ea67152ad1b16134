/* All static data of the runtime. The planner states SRAM to the byte, so its size is fixed here, and nothing else of the runtime, the port
 * or the C library may have static data: the static data of a firmware is this plus that of its generated model. */
#ifndef MCUTRAIN_RUNTIME_STATE_H
#define MCUTRAIN_RUNTIME_STATE_H

#include <stdint.h>

/* Bytes of mct_runtime and mct_trace together. The Python planner reads this line. */
#define MCT_RUNTIME_STATIC_BYTES 28

typedef struct {
    uint32_t lines;      /* lines sent */
    uint32_t line_crc;   /* of the line being sent */
    uint32_t line_open;  /* 1 between the beginning and the end of a line */
    uint32_t step;       /* the step that trains now */
    uint32_t dump_op;    /* the operator whose outputs are dumped when that step is traced */
    uint32_t dump_visit; /* at this visit of it */
} mct_runtime_state;

extern mct_runtime_state mct_runtime;

#endif
