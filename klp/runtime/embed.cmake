# SPDX-License-Identifier: Apache-2.0
# cmake -DBIN=flat image -DLIMIT=bytes -DOUT=assembly file: checks the size, computes `build`, writes the file that embeds the image.
file(SIZE ${BIN} size)
if(size GREATER LIMIT)
  message(FATAL_ERROR "the runtime image has ${size} bytes, the limit (KLP_RT_TEXT_SIZE) is ${LIMIT}")
endif()
# `build` is zero in the flat image: the digest over it is the digest with the field zero.
file(SHA256 ${BIN} digest)
set(build "")
foreach(i RANGE 0 14 2)
  string(SUBSTRING ${digest} ${i} 2 byte)
  list(APPEND build "0x${byte}")
endforeach()
list(JOIN build ", " build)
file(WRITE ${OUT} "/* SPDX-License-Identifier: Apache-2.0 */
/* Made by embed.cmake. Offsets: struct klp_rt_image, `build` is bytes 16 to 23. */
	.section .rodata.klp_rt_image, \"a\", @progbits
	.balign 64
	.globl klp_rt_image_start, klp_rt_image_end
	.hidden klp_rt_image_start, klp_rt_image_end
klp_rt_image_start:
	.incbin \"${BIN}\", 0, 16
	.byte ${build}
	.incbin \"${BIN}\", 24
klp_rt_image_end:
	.section .note.GNU-stack, \"\", @progbits
")
