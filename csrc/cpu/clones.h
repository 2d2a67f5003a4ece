// One binary for every x86-64 processor: a loop marked RELPROP_CLONES is compiled for AVX-512, for
// AVX2 and for the oldest, and the dynamic linker picks one when the library is loaded.
//
// It goes before the static function that holds the loop. What that function calls must be inlined
// (RELPROP_HD), or it is compiled for the oldest only; so no lambdas in such loops.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    __GNUC__ >= 12
#define RELPROP_HAS_CLONES 1
#define RELPROP_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define RELPROP_HAS_CLONES 0
#define RELPROP_CLONES
#endif
