/* Status codes: every function of mcutrain that can fail returns one, and none may be ignored. */
#ifndef MCUTRAIN_STATUS_H
#define MCUTRAIN_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* The Python side reads names, numbers and comments from here: up to the first semicolon they are what it tells the user. */
typedef enum {
    MCT_OK = 0,               /* done */
    MCT_ERROR_ARGUMENT = 1,   /* a size, pointer or parameter outside its contract; outputs unchanged */
    MCT_ERROR_NOT_FINITE = 2, /* not finite: training diverged; a logit, an error or a step was NaN or infinite, weights unchanged */
    MCT_ERROR_FORMAT = 3      /* the episode image was refused: wrong magic number, version, size, CRC, plan or bounds */
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
