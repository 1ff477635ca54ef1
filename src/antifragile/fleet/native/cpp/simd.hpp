// Vectors and the operations on them that the kernel needs.
//
// The compiler's own vector types stand for intrinsics (the bfloat16 product is the one exception):
// the same source becomes AVX-512, AVX2 or 128-bit code by the flags it is compiled with (see
// setup.py). Each translation unit is one such version; the loader picks one by the processor.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace antifragile {

#define INLINE inline __attribute__((always_inline))

// ROWS x VECTORS accumulators of a product and DOT_ROWS x DOT_COLUMNS of a dot product must fit
// the register file (32 vectors with AVX-512, 16 otherwise) beside their operands.
#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, ROWS = 6, VECTORS = 4, DOT_ROWS = 4, DOT_COLUMNS = 4;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32, ROWS = 6, VECTORS = 2, DOT_ROWS = 2, DOT_COLUMNS = 4;
#else
constexpr int VECTOR_BYTES = 16, ROWS = 4, VECTORS = 2, DOT_ROWS = 2, DOT_COLUMNS = 4;
#endif

constexpr int TILE = 64;   // samples (or columns) of a panel, whatever the vector length
constexpr int ALIGN = 16;  // row lengths of wide matrices are padded to this many elements

template <class T>
struct SimdOf {
    static constexpr int lanes = VECTOR_BYTES / int(sizeof(T));
    typedef T type __attribute__((vector_size(VECTOR_BYTES)));
};
template <class T>
using Simd = typename SimdOf<T>::type;
template <class T>
constexpr int lanes = SimdOf<T>::lanes;

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

template <class T>
INLINE Simd<T> load(const T* from) {
    Simd<T> v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

template <class T>
INLINE void store(T* to, Simd<T> v) {
    std::memcpy(to, &v, sizeof v);
}

template <class T>
INLINE Simd<T> splat(T x) {
    return Simd<T>{} + x;
}

// Two bfloat16 values side by side, the earlier in the lower half: an operand of bf16 products.
using Pair = uint32_t;
constexpr Pair UPPER = 0xFFFF0000u;

// Number of values along the sum of a product that one element of an operand holds.
template <class Q>
constexpr int packed = std::is_same_v<Q, Pair> ? 2 : 1;

template <class T>
INLINE void multiply_add(Simd<T>& sum, T left, Simd<T> right) {
    sum += splat(left) * right;
}

// sum += upper * upper, then += lower * lower. A product of two bfloat16 is exact in float32, so
// each is one rounding on every machine, in the order of the processors that have the instruction.
INLINE void multiply_add(Simd<float>& sum, Pair left, Simd<Pair> right) {
    const Simd<Pair> factor = splat(left);
#if defined(__AVX512BF16__)
    sum = Simd<float>(_mm512_dpbf16_ps(__m512(sum), __m512bh(factor), __m512bh(right)));
#else
    sum += Simd<float>(factor & UPPER) * Simd<float>(right & UPPER);
    sum += Simd<float>(factor << 16) * Simd<float>(right << 16);
#endif
}

// Lanes j of x and y exchanged across distance H: the butterfly of transposes and sums.
template <int H, class V, size_t... J>
INLINE V low_halves(V x, V y, std::index_sequence<J...>) {
    constexpr int n = sizeof...(J);
    return __builtin_shufflevector(x, y, ((J & H) ? int(J) - H + n : int(J))...);
}
template <int H, class V, size_t... J>
INLINE V high_halves(V x, V y, std::index_sequence<J...>) {
    constexpr int n = sizeof...(J);
    return __builtin_shufflevector(x, y, ((J & H) ? int(J) + n : int(J) + H)...);
}

// Transposes a square of lanes x lanes elements held in `row`.
template <class T, int H = 1>
INLINE void transpose(Simd<T> (&row)[lanes<T>]) {
    constexpr auto all = std::make_index_sequence<lanes<T>>{};
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i) {
        if (i & H) continue;
        const Simd<T> x = row[i], y = row[i + H];
        row[i] = low_halves<H>(x, y, all);
        row[i + H] = high_halves<H>(x, y, all);
    }
    if constexpr (2 * H < lanes<T>) transpose<T, 2 * H>(row);
}

// Sums of `lanes` vectors at once: lane i of row[0] becomes the sum of the lanes of row[i].
template <class T, int H = 1>
INLINE Simd<T> sum_each(Simd<T> (&row)[lanes<T>]) {
    constexpr auto all = std::make_index_sequence<lanes<T>>{};
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; i += 2 * H)
        row[i] = low_halves<H>(row[i], row[i + H], all) + high_halves<H>(row[i], row[i + H], all);
    if constexpr (2 * H < lanes<T>) return sum_each<T, 2 * H>(row);
    return row[0];
}

// The lanes of one vector, added pairwise.
template <class T>
INLINE T sum_lanes(Simd<T> v) {
    T part[lanes<T>];
    store(part, v);
    for (int half = lanes<T> / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) part[i] += part[i + half];
    return part[0];
}

// e^x within 2 ulp for x <= 0 (softmax needs no other); NaN stays NaN. Polynomial: Cephes expf.
INLINE float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    const float n = std::floor(x * 1.44269504088896341f + 0.5f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    const float y = (p * r * r + r) + 1.0f;
    const int32_t bits = (int32_t(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return y * power;
}
INLINE double exponential(double x) { return std::exp(x); }

// The dropout words of config/seeds.py.
constexpr uint32_t GOLDEN = 0x9E3779B9u;

INLINE uint32_t mix32(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}

INLINE uint64_t splitmix64(uint64_t x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

}  // namespace antifragile
