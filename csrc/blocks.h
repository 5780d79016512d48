// Memory for large outputs, kept for the next ones.
//
// malloc gives memory of this size back to the system when it is freed, or soon after, and the system fills its pages with zeros
// before it gives them again. That costs up to twice what a kernel does that reads and writes as much.
#pragma once

#include <cstdint>

// Bytes from which an output is large.
constexpr int64_t NW_LARGE = int64_t{2} << 20;

struct nw_blocks {
    int64_t limit;  // bytes that are kept free at most: beyond them the system gets back what has been free longest
    int64_t free;   // bytes that are kept free
    int64_t taken;  // bytes in use
};

// At least so many bytes, at an address for large pages, with any content; from any thread. Null where malloc is to serve: less
// than NW_LARGE, a limit of 0, a system other than Linux, no memory.
void* nw_take_block(int64_t bytes);

// Give back what nw_take_block gave; from any thread.
void nw_give_block(void* block);

// Set the limit, and return what is in force then; a negative one leaves it as it is.
nw_blocks nw_keep_blocks(int64_t limit);
