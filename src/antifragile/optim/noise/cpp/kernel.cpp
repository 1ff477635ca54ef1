// Random noise that is drawn and added to parameters in one pass, in place or to a copy of them, with
// the checksums of what results; a copy past the caches; and checksums alone (called by kernel.py).
#include <chrono>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "job.hpp"

#define INLINE inline __attribute__((always_inline))

namespace {

constexpr int64_t SHARE = 1 << 18;  // elements for which a further thread pays

#define VECTOR 128  // bits of the vectors of rows.hpp
namespace plain {
#include "elements.hpp"
#include "rows.hpp"
}
#undef VECTOR

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define GENERATIONS
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2,f16c")
#define VECTOR 256
namespace v3 {
#include "elements.hpp"
#include "rows.hpp"
}
#undef VECTOR
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,f16c,prefer-vector-width=512")
#define VECTOR 512
namespace v4 {
#include "elements.hpp"
#include "rows.hpp"
}
#undef VECTOR
#pragma GCC pop_options
#endif

// What this processor can run, and whether it does well to gather.
struct Choice {
    Rows rows;
    bool gathers;
};

Rows best_rows() {
#if defined(GENERATIONS)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512cd"))
        return v4::ROWS;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c"))
        return v3::ROWS;
#endif
    return plain::ROWS;
}

// Seconds of the fastest of a few draws from a table that is in the caches.
double seconds(const Rows& rows, bool gathers, const std::vector<float>& table) {
    std::vector<float> target(8192);
    Job job{};
    job.table = table.data();
    Row row{};
    row.target = target.data();
    row.count = int64_t(target.size());
    row.key = 1;
    double best = 1.0;
    for (int trial = 0; trial < 5; ++trial) {
        const auto begin = std::chrono::steady_clock::now();
        rows.of_float.levels(row, job, gathers);
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
        best = taken.count() < best ? taken.count() : best;
    }
    return best;
}

const Choice& choice() {
    static const Choice made = [] {
        const Rows rows = best_rows();
        const std::vector<float> table(1 << 15);
        return Choice{rows, seconds(rows, true, table) < seconds(rows, false, table)};
    }();
    return made;
}

// target = source, past the caches: the overwritten memory is not read first.
void copy(const Row& row, int64_t item) {
    char* to = static_cast<char*>(row.target);
    const char* from = static_cast<const char*>(row.source);
    int64_t left = row.count * item;
#if defined(__x86_64__)
    int64_t head = int64_t(-uintptr_t(to) & 15);
    head = head < left ? head : left;
    std::memcpy(to, from, size_t(head));
    for (to += head, from += head, left -= head; left >= 16; to += 16, from += 16, left -= 16)
        _mm_stream_si128(reinterpret_cast<__m128i*>(to),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    _mm_sfence();
#endif
    std::memcpy(to, from, size_t(left));
}

// One row per parameter and replica.
template <class T>
std::vector<Row> rows_of(const Job& job) {
    std::vector<Row> rows;
    for (int64_t k = 0; k < job.n_parameters; ++k)
        for (int64_t r = 0; r < job.n_replicas; ++r) {
            const int64_t at = r * job.counts[k];
            const T* source = job.sources ? static_cast<const T*>(job.sources[k]) + at : nullptr;
            Row row{};
            row.target = static_cast<T*>(job.targets[k]) + at;
            row.source = source;
            row.count = job.counts[k];
            row.checksum = job.checksums ? job.checksums + k : nullptr;
            row.filter = 1;
            if (job.action == ALONG) {
                row.size = job.sizes[k * job.n_replicas + r];
                row.scale = job.scales[r];
                row.factors = static_cast<const T*>(job.factors[k]) + at;
            } else if (job.action <= ADD) {
                row.key = job.keys[r];
                row.size = job.sizes[k * job.n_replicas + r];
                row.parameter = job.parameters[k];
                row.channels = job.channels[k];
                row.places = job.places[k];
            }
            if (job.filters) {
                row.filter = job.filters[k];
                row.factors = static_cast<const T*>(job.factors[k]) + at / row.filter;
            }
            rows.push_back(row);
        }
    return rows;
}

// Rows cut at whole stretches, so that several threads get about equally many elements.
template <class T>
std::vector<Row> cut(const std::vector<Row>& rows, const Job& job, int64_t share) {
    std::vector<Row> pieces;
    for (const Row& row : rows) {
        const int64_t filter = row.places > 1 ? row.channels * row.places : 1;
        const int64_t whole = std::lcm(STRETCH, filter);
        const int64_t step = (share + whole - 1) / whole * whole;
        for (int64_t at = 0; at < row.count; at += step) {
            Row piece = row;
            piece.target = static_cast<T*>(row.target) + at;
            if (row.source) piece.source = static_cast<const T*>(row.source) + at;
            if (job.action == ALONG) piece.factors = static_cast<const T*>(row.factors) + at;
            piece.begin = at;
            piece.count = row.count - at < step ? row.count - at : step;
            pieces.push_back(piece);
        }
    }
    return pieces;
}

// Calls act on every row, with one thread per SHARE elements and at most job.threads.
template <class T, class Act>
void for_all(const std::vector<Row>& rows, const Job& job, int64_t total, const Act& act) {
    const int64_t worth = total / SHARE < 1 ? 1 : total / SHARE;
    const int64_t threads = worth < job.threads ? worth : job.threads;
    if (threads <= 1) {
        for (const Row& row : rows) act(row);
        return;
    }
    const std::vector<Row> pieces = cut<T>(rows, job, total / threads + 1);
    std::vector<int64_t> ends;  // index of each thread's last piece, plus one
    int64_t done = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
        done += pieces[i].count;
        if (done * threads >= total * int64_t(ends.size() + 1)) ends.push_back(int64_t(i) + 1);
    }
    const auto body = [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i) act(pieces[i]);
    };
    std::vector<std::thread> others;
    for (size_t i = 1; i < ends.size(); ++i) others.emplace_back(body, ends[i - 1], ends[i]);
    body(0, ends[0]);
    for (std::thread& other : others) other.join();
}

// Does a job on elements T; `work` is null where it can only be copies and checksums.
template <class T>
void run(const Job& job, const Work* work) {
    const Choice& made = choice();
    const std::vector<Row> rows = rows_of<T>(job);
    int64_t total = 0;
    for (const Row& row : rows) total += row.count;
    for_all<T>(rows, job, total, [&](const Row& row) {
        if (job.action == COPY)
            copy(row, sizeof(T));
        else if (job.action == CHECK)
            made.rows.check(row, sizeof(T));
        else if (job.action == ALONG)
            work->along(row, job);
        else if (row.places > 1)
            work->across(row, job, made.gathers);
        else if (job.table)
            work->levels(row, job, made.gathers);
        else
            work->signs(row, job);
    });
}

}  // namespace

extern "C" {

void antifragile_run_float32(const Job* job) { run<float>(*job, &choice().rows.of_float); }
void antifragile_run_float64(const Job* job) { run<double>(*job, &choice().rows.of_double); }
void antifragile_run_bfloat16(const Job* job) { run<bfloat>(*job, &choice().rows.of_bfloat); }
void antifragile_run_float16(const Job* job) { run<half>(*job, &choice().rows.of_half); }
void antifragile_run_bytes(const Job* job) { run<char>(*job, nullptr); }

// Makes the file an importable extension module; it is loaded by ctypes.
void* PyInit__noise() { return nullptr; }
}
