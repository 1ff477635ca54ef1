// The entry points of the compiled kernel, called through ctypes (fleet/native/kernel.py).
//
// A call trains one epoch of many replicas and counts their correct samples. A group of replicas
// is the work of one thread from beginning to end, so threads change nothing but the time.
#include <cstdlib>
#include <thread>

#include "group.hpp"
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace antifragile {

// Denormals read and written as zero inside, the caller's setting restored after.
class FlushDenormals {
#if defined(__x86_64__)
public:
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before_); }

private:
    unsigned before_;
#elif defined(__aarch64__)
public:
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | (1ull << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

private:
    uint64_t before_;
#endif
};

template <class T, class Q>
void work(const Job& job, const Network& net, int64_t largest, std::atomic<int64_t>& next,
          std::atomic<int>& failed) {
    try {
        const FlushDenormals flush;
        Group<T, Q> group(job, net, largest);
        for (int64_t g = next++; g < job.n_groups && !*job.stop; g = next++) group.run(g);
    } catch (const std::bad_alloc&) {
        failed = 1;
    }
}

template <class T, class Q>
int run(const Job& job) {
    const Network net(job.sizes, job.adds, job.n_layers);
    int64_t largest = 0;
    for (int64_t g = 0; g < job.n_groups; ++g)
        largest = std::max(largest, job.group_start[g + 1] - job.group_start[g]);
    std::atomic<int64_t> next{0};
    std::atomic<int> failed{0};
    const auto body = [&] { work<T, Q>(job, net, largest, next, failed); };
    std::vector<std::thread> others;
    for (int64_t i = 1; i < std::min(job.threads, job.n_groups); ++i) others.emplace_back(body);
    body();
    for (std::thread& other : others) other.join();
    return failed;
}

template <class T>
void pack(const T* images, int64_t n, int64_t n_features, T* panels) {
    BatchRows<T> batch(n_features, TILE);
    const int64_t depth = (n_features + packed<T> - 1) / packed<T>;
    int64_t order[TILE];
    for (int64_t at = 0; at < n; at += TILE) {
        const int64_t count = std::min<int64_t>(TILE, n - at);
        for (int64_t s = 0; s < count; ++s) order[s] = at + s;
        batch.find(images, order, count);
        pack_panel<T>(batch.panel(0), batch.panel(0), depth, panels + at * depth);
    }
}

}  // namespace antifragile

extern "C" {

// 0 plain, 1 AVX2 with FMA, 2 AVX-512, 3 that with bf16 products: the best version that this
// processor runs.
int antifragile_processor_level() {
#if defined(__x86_64__)
    unsigned a = 0, b, c, d;
    const bool bf16 = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return bf16 ? 3 : 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

// One epoch and one evaluation; 0 when done, 1 when memory is short.
int antifragile_run_bfloat16(const antifragile::Job* job) {
    return antifragile::run<float, antifragile::Pair>(*job);
}

// (n, n_features) samples to (ceil(n / 64), n_features, 64) panels; of bfloat16, n_features rounded
// up to whole vectors to (ceil(n / 64), ceil(n_features / 2), 64) pairs.
void antifragile_pack_bfloat16(const antifragile::Pair* images, int64_t n, int64_t n_features,
                               antifragile::Pair* panels) {
    antifragile::pack<antifragile::Pair>(images, n, n_features, panels);
}

#if !defined(__AVX512BF16__)  // that version serves bf16 alone
int antifragile_run_float32(const antifragile::Job* job) {
    return antifragile::run<float, float>(*job);
}
int antifragile_run_float64(const antifragile::Job* job) {
    return antifragile::run<double, double>(*job);
}
void antifragile_pack_float32(const float* images, int64_t n, int64_t n_features, float* panels) {
    antifragile::pack<float>(images, n, n_features, panels);
}
void antifragile_pack_float64(const double* images, int64_t n, int64_t n_features, double* panels) {
    antifragile::pack<double>(images, n, n_features, panels);
}
#endif

}  // extern "C"
