// The kernels that this machine can run.
#pragma once

#include "abi.h"

// The table of an instruction set by name, the widest for null; null where the machine or the build lacks it.
const nw_table* nw_kernels(const char* isa);
