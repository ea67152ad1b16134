/* Status codes: every function of mcutrain that can fail returns one, and none may be ignored. */
#ifndef MCUTRAIN_STATUS_H
#define MCUTRAIN_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    MCT_OK = 0,
    MCT_ERROR_ARGUMENT = 1,   /* a size, pointer or parameter outside its contract; outputs unchanged */
    MCT_ERROR_NOT_FINITE = 2, /* an update step was NaN or infinite: training diverged; weights unchanged */
    MCT_ERROR_FORMAT = 3      /* an episode image with a wrong magic number, version, size or CRC */
} mct_status;

#if defined(__GNUC__)
#define MCT_MUST_CHECK __attribute__((warn_unused_result))
#else
#define MCT_MUST_CHECK
#endif

#ifdef __cplusplus
}
#endif
#endif
