/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime image as the engine carries it: a flat, position-independent binary that begins with struct klp_rt_image.
 * To place it: copy [klp_rt_image_start, klp_rt_image_end) to the image's address in the target, add that address to
 * the `fn` of the struct klp_rt_ops at header.ops_livepatch, and write the magic last. Nothing else is relocated.
 */
#ifndef KLP_RT_IMAGE_H
#define KLP_RT_IMAGE_H

extern const unsigned char klp_rt_image_start[] __attribute__((visibility("hidden")));
extern const unsigned char klp_rt_image_end[] __attribute__((visibility("hidden")));

#endif
