// Types of elements: how they are read, written and rounded.
//
// Included once for every generation of processors, as rows.hpp.

// Elements of type T are computed with as W, and rounded to a T after every operation.
template <class T>
struct Computed {
    typedef T W;
};
template <>
struct Computed<bfloat> {
    typedef float W;
};
template <>
struct Computed<half> {
    typedef float W;
};

INLINE float float_of(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
INLINE uint32_t bits_of(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

INLINE float load(const float* from) { return *from; }
INLINE double load(const double* from) { return *from; }
INLINE float load(const bfloat* from) { return float_of(uint32_t(from->bits) << 16); }

INLINE void store(float* to, float x) { *to = x; }
INLINE void store(double* to, double x) { *to = x; }
INLINE void store(bfloat* to, float x) {
    uint32_t bits = bits_of(x);
    const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    bits = (bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16;  // to the nearest, ties to even
    to->bits = is_nan ? uint16_t(0x7FC0) : uint16_t(bits);
}

#if defined(__aarch64__)  // has instructions for halves
INLINE float load(const half* from) {
    __fp16 x;
    std::memcpy(&x, from, sizeof x);
    return float(x);
}
INLINE void store(half* to, float x) {
    const __fp16 rounded = __fp16(x);
    std::memcpy(to, &rounded, sizeof rounded);
}
#else
// Without branches and without subnormal floats, which are slow and may be set to be zero: below
// the least normal half, 0.5 is added, whose unit in the last place is the least half.
INLINE float load(const half* from) {
    const uint32_t magnitude = from->bits & 0x7FFFu;
    const float small = float_of(magnitude | 0x3F000000u) - 0.5f;
    const uint32_t normal = (magnitude << 13) + (magnitude >= 0x7C00u ? 0x70000000u : 0x38000000u);
    const uint32_t bits = magnitude < 0x0400u ? bits_of(small) : normal;
    return float_of(bits | uint32_t(from->bits & 0x8000u) << 16);
}
INLINE void store(half* to, float x) {
    const uint32_t bits = bits_of(x), magnitude = bits & 0x7FFFFFFFu;
    const uint32_t small = bits_of(float_of(magnitude) + 0.5f) - 0x3F000000u;
    const uint32_t normal = (magnitude - 0x38000000u + 0x0FFFu + ((magnitude >> 13) & 1)) >> 13;
    uint32_t found = magnitude < 0x38800000u ? small : normal;
    found = magnitude >= 0x47800000u ? 0x7C00u : found;
    found = magnitude > 0x7F800000u ? 0x7E00u : found;
    to->bits = uint16_t(found | ((bits >> 16) & 0x8000u));
}
#endif

template <class T, class W>
INLINE W rounded(W x) {
    T stored;
    store(&stored, x);
    return load(&stored);
}

// Many elements at once; with instructions of the processor for halves.
template <class T, class W>
INLINE void widen(const T* __restrict from, W* __restrict to, int64_t count) {
    int64_t i = 0;
#if VECTOR >= 256
    if constexpr (std::is_same_v<T, half>)
        for (; i + 8 <= count; i += 8)
            _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(from + i))));
#endif
    for (; i < count; ++i) to[i] = load(from + i);
}
template <class T, class W>
INLINE void narrow(const W* __restrict from, T* __restrict to, int64_t count) {
    int64_t i = 0;
#if VECTOR >= 256
    if constexpr (std::is_same_v<T, half>)
        for (; i + 8 <= count; i += 8)
            _mm_storeu_si128((__m128i*)(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(from + i), 0));
#endif
    for (; i < count; ++i) store(to + i, from[i]);
}

// Rounds numbers to a T each.
template <class T, class W>
INLINE void round_all(W* numbers, int64_t count) {
    if constexpr (std::is_same_v<T, W>) return;
    int64_t i = 0;
#if VECTOR >= 256
    if constexpr (std::is_same_v<T, half>)
        for (; i + 8 <= count; i += 8) {
            const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(numbers + i), 0);
            _mm256_storeu_ps(numbers + i, _mm256_cvtph_ps(halves));
        }
#endif
    for (; i < count; ++i) numbers[i] = rounded<T>(numbers[i]);
}
