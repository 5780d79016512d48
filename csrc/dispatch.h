// The kernels that this machine can run, and who made it.
#pragma once

#include "abi.h"

// The table of an instruction set by name, the widest for null; null where the machine or the build lacks it.
const nw_table* nw_kernels(const char* isa);

// Bytes of outputs from which they are written past the caches.
extern int64_t nw_past_caches_from;

// The family of a processor by AMD, as CPUID counts them; 0 for those of others.
int nw_amd_family();
