/* A look at updates from outside, where MCT_OBSERVE is defined: in the library of this machine that runs episodes, whose port counts them
 * (src/ports/host). Anywhere else nothing of it is compiled. */
#ifndef MCT_KERNELS_OBSERVE_H
#define MCT_KERNELS_OBSERVE_H

/* Called by each update of `tensor` whose steps are finite, ahead of them. largest: the largest step before the cap; ratio: what all of them are
 * multiplied by. */
void mct_observe_update(const void *tensor, float largest, float ratio);

#ifdef MCT_OBSERVE
#define MCT_OBSERVE_UPDATE(tensor, largest, ratio) mct_observe_update(tensor, largest, ratio)
#else
#define MCT_OBSERVE_UPDATE(tensor, largest, ratio) ((void)0)
#endif
#endif
