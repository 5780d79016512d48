#include "blocks.h"

#ifdef __linux__
#include <pthread.h>
#include <sys/mman.h>

#include <cstddef>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace {

constexpr size_t PAGE = size_t{4} << 10, LARGE_PAGE = size_t{2} << 20;

struct Block {
    char* start;
    size_t bytes;
};

// What is mapped is cut to an address for large pages.
char* map(size_t bytes) {
    void* const found = mmap(nullptr, bytes + LARGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) return nullptr;
    char* const from = static_cast<char*>(found);
    const size_t before = (LARGE_PAGE - reinterpret_cast<uintptr_t>(from) % LARGE_PAGE) % LARGE_PAGE;
    if (before > 0) munmap(from, before);
    munmap(from + before + bytes, LARGE_PAGE - before);
    return from + before;
}

class Blocks {
public:
    Blocks() { pthread_atfork([] { all().mutex_.lock(); }, [] { all().mutex_.unlock(); }, [] { all().mutex_.unlock(); }); }

    // For as long as the process runs: tensors are freed later than anything else.
    static Blocks& all() {
        static Blocks* const blocks = new Blocks;
        return *blocks;
    }

    void* take(size_t wanted) {
        const size_t bytes = (wanted + PAGE - 1) / PAGE * PAGE;
        const std::lock_guard<std::mutex> lock(mutex_);
        if (now_.limit == 0) return nullptr;
        Block block = fitting(bytes);
        if (block.start == nullptr) block = {map(bytes), bytes};
        if (block.start == nullptr) {  // what is free may be what is missing
            shrink(0);
            block = {map(bytes), bytes};
        }
        if (block.start == nullptr) return nullptr;
        taken_.emplace(block.start, block.bytes);
        now_.taken += static_cast<int64_t>(block.bytes);
        return block.start;
    }

    void give(void* start) {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = taken_.find(start);
        const Block block = {static_cast<char*>(start), found->second};
        taken_.erase(found);
        now_.taken -= static_cast<int64_t>(block.bytes);
        now_.free += static_cast<int64_t>(block.bytes);
        free_.push_back(block);
        shrink(now_.limit);
    }

    nw_blocks keep(int64_t limit) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (limit >= 0) now_.limit = limit;
        shrink(now_.limit);
        return now_;
    }

private:
    // The smallest free block that is large enough and at most an eighth too large; of several the one that was in use last, whose
    // end may still be in the caches.
    Block fitting(size_t bytes) {
        size_t best = free_.size();
        for (size_t i = 0; i < free_.size(); i++) {
            const size_t has = free_[i].bytes;
            if (has < bytes || has - bytes > bytes / 8) continue;
            if (best == free_.size() || has <= free_[best].bytes) best = i;
        }
        if (best == free_.size()) return {nullptr, 0};
        return remove(best);
    }

    Block remove(size_t i) {
        const Block block = free_[i];
        free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
        now_.free -= static_cast<int64_t>(block.bytes);
        return block;
    }

    void shrink(int64_t limit) {
        while (now_.free > limit) {
            const Block block = remove(0);
            munmap(block.start, block.bytes);
        }
    }

    std::mutex mutex_;
    nw_blocks now_ = {int64_t{256} << 20, 0, 0};
    std::vector<Block> free_;  // in the order in which they were given back
    std::unordered_map<void*, size_t> taken_;
};

}  // namespace

void* nw_take_block(int64_t bytes) { return bytes < NW_LARGE ? nullptr : Blocks::all().take(static_cast<size_t>(bytes)); }
void nw_give_block(void* block) { Blocks::all().give(block); }
nw_blocks nw_keep_blocks(int64_t limit) { return Blocks::all().keep(limit); }
#else
void* nw_take_block(int64_t) { return nullptr; }
void nw_give_block(void*) {}
nw_blocks nw_keep_blocks(int64_t) { return {0, 0, 0}; }
#endif
