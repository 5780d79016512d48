// Threads that take blocks, fill them, find them as they left them and give them back, in any order.
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "blocks.cpp"

namespace {

constexpr int64_t MIB = int64_t{1} << 20;
constexpr int THREADS = 4, ROUNDS = 120, HELD = 6;

struct Held {
    unsigned char* start;
    int64_t bytes;
    unsigned char mark;
};

bool is_as_left(const Held& held) {
    for (int64_t i = 0; i < held.bytes; i += 4093)
        if (held.start[i] != held.mark) return false;
    return held.start[held.bytes - 1] == held.mark;
}

void work(unsigned seed, bool* well) {
    std::mt19937 random(seed);
    std::vector<Held> mine;
    for (int round = 0; round < ROUNDS; round++) {
        if (mine.size() < HELD) {
            const int64_t bytes = NW_LARGE + random() % (2 * MIB);
            Held held = {static_cast<unsigned char*>(nw_take_block(bytes)), bytes, static_cast<unsigned char>(random())};
            *well = *well && held.start != nullptr && reinterpret_cast<uintptr_t>(held.start) % (2 * MIB) == 0;
            if (!*well) return;
            memset(held.start, held.mark, static_cast<size_t>(bytes));
            mine.push_back(held);
        }
        if (mine.size() == HELD || random() % 3 == 0) {
            const size_t i = random() % mine.size();
            *well = *well && is_as_left(mine[i]);
            nw_give_block(mine[i].start);
            mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(i));
        }
        if (round % 20 == 0) nw_keep_blocks(static_cast<int64_t>(1 + random() % 16) * MIB);
    }
    for (const Held& held : mine) nw_give_block(held.start);
}

}  // namespace

int main() {
    bool well[THREADS];
    std::vector<std::thread> threads;
    for (int i = 0; i < THREADS; i++) {
        well[i] = true;
        threads.emplace_back(work, static_cast<unsigned>(i), &well[i]);
    }
    for (std::thread& thread : threads) thread.join();
    const nw_blocks kept = nw_keep_blocks(-1), none = nw_keep_blocks(0);
    const bool empty = nw_take_block(NW_LARGE) == nullptr && nw_take_block(NW_LARGE - 1) == nullptr;
    printf("%d %d %d\n", well[0] && well[1] && well[2] && well[3], kept.taken == 0 && kept.free <= kept.limit,
           none.free == 0 && none.limit == 0 && empty);
    return 0;
}
