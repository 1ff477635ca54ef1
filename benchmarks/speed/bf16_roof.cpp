// Measure the gain that bf16 products could bring here: one register block of 6 x 64 sums, fp32 and bf16 in turn.
//
//     g++ -O3 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 bf16_roof.cpp -o roof && ./roof
#include <immintrin.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <vector>

constexpr int ROWS = 6, VECTORS = 4, COLUMNS = 16 * VECTORS;
using Sums = __m512[ROWS][VECTORS];

static void add(__m512& sum, float left, __m512 right) {
    sum = _mm512_fmadd_ps(_mm512_set1_ps(left), right, sum);
}

static void add(__m512& sum, uint32_t left, __m512 right) {
    sum = _mm512_dpbf16_ps(sum, __m512bh(_mm512_set1_epi32(int(left))), __m512bh(right));
}

template <class Q>
__attribute__((noinline)) void multiply(const Q* left, const Q* right, int depth, float* out) {
    Sums sum;
    for (auto& row : sum)
        for (auto& vector : row) vector = _mm512_setzero_ps();
    for (int k = 0; k < depth; ++k) {
        __m512 column[VECTORS];
        for (int n = 0; n < VECTORS; ++n) column[n] = _mm512_loadu_ps(right + k * COLUMNS + n * 16);
#pragma GCC unroll 6
        for (int m = 0; m < ROWS; ++m)
#pragma GCC unroll 4
            for (int n = 0; n < VECTORS; ++n) add(sum[m][n], left[m * depth + k], column[n]);
    }
    for (int m = 0; m < ROWS; ++m)
        for (int n = 0; n < VECTORS; ++n) _mm512_storeu_ps(out + m * COLUMNS + n * 16, sum[m][n]);
}

template <class Q>
double gflops(int depth, int times, double operations) {
    const std::vector<Q> left(size_t(ROWS * depth)), right(size_t(COLUMNS * depth));
    std::vector<float> out(ROWS * COLUMNS);
    const auto started = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) multiply(left.data(), right.data(), depth, out.data());
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - started;
    return operations * ROWS * COLUMNS * depth * times / spent.count() / 1e9;
}

int main() {
    for (int depth : {64, 128, 392, 784})
        for (int turn = 0; turn < 3; ++turn) {
            const int times = 5000000 / depth;
            const double fp32 = gflops<float>(depth, times, 2);
            const double bf16 = gflops<uint32_t>(depth, times, 4);
            std::printf("depth %d: fp32 %.0f, bf16 %.0f GFLOP/s, %.2f\n", depth, fp32, bf16,
                        bf16 / fp32);
        }
}
