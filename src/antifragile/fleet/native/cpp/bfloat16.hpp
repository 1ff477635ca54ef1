// Operands of bf16 products: float32 values rounded to bfloat16, nearest and ties to even, and laid
// out so that two neighbours along the sum of a product stand in one Pair.
//
// Results stay float32: sums, biases, activations, the loss, master weights and AdamW.
#pragma once

#include "batch.hpp"

namespace antifragile {

constexpr int PANEL_PAIRS = TILE / 2;  // pairs of samples in a panel

// The rounded value in the upper half; the lower half is left over. NaN stays NaN.
INLINE uint32_t round_up_half(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t nearest = bits + 0x7FFF + (bits >> 16 & 1);
    return (bits & 0x7FFFFFFF) > 0x7F800000 ? bits | 0x400000 : nearest;
}

INLINE Pair join(float first, float second) {
    return round_up_half(first) >> 16 | (round_up_half(second) & UPPER);
}

INLINE Simd<Pair> round_up_half(Simd<float> x) {
    const Simd<Pair> bits = Simd<Pair>(x), nearest = bits + 0x7FFF + (bits >> 16 & 1);
    return (bits & 0x7FFFFFFF) > 0x7F800000 ? bits | 0x400000 : nearest;
}

// Two rows of n values to pairs of one above the other.
INLINE void join_rows(const float* __restrict upper, const float* __restrict lower, int64_t n,
                      Pair* __restrict out) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[i] = join(upper[i], lower[i]);
}

// One row of 2 n values to n pairs of neighbours.
INLINE void join_neighbours(const float* __restrict row, int64_t n, Pair* __restrict out) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[i] = join(row[2 * i], row[2 * i + 1]);
}

// A panel (units, TILE) to pairs of units, (ceil(units / 2), TILE): a right factor.
inline void pair_units(const float* panel, int64_t units, Pair* out) {
    alignas(64) static constexpr float none[TILE] = {};
    for (int64_t unit = 0; unit < units; unit += 2) {
        const float* const row = panel + unit * TILE;
        join_rows(row, unit + 1 < units ? row + TILE : none, TILE, out + unit / 2 * TILE);
    }
}

// Panels (units, TILE) to pairs of samples, (units, PANEL_PAIRS): the left factor of a gradient.
inline void pair_samples(const float* panel, int64_t units, Pair* out) {
    join_neighbours(panel, units * PANEL_PAIRS, out);
}

// Lane i: lanes 2 i and 2 i + 1 of the two vectors side by side, rounded.
template <size_t... J>
INLINE Simd<Pair> join_lanes(Simd<float> x, Simd<float> y, std::index_sequence<J...>) {
    const Simd<Pair> a = round_up_half(x), b = round_up_half(y);
    return __builtin_shufflevector(a, b, int(2 * J)...) >> 16 |
           (__builtin_shufflevector(a, b, int(2 * J + 1)...) & UPPER);
}

// The result of pack_activations, of pairs of samples: column panels of (capacity / 2, TILE).
inline void pair_activations(const float* panels, int64_t jump, int64_t n_panels, int64_t units,
                             int64_t capacity, Pair* by_sample) {
    constexpr int n = lanes<Pair>;
    for (int64_t p = 0; p < n_panels; ++p)
        for (int64_t c = 0; c < round_up(units, ALIGN); c += n)
            for (int s = 0; s < PANEL_PAIRS; s += n) {
                Simd<Pair> square[n];
                for (int i = 0; i < n; ++i) {
                    const float* from = panels + p * jump + (c + i) * TILE + 2 * s;
                    square[i] = c + i < units ? join_lanes(load(from), load(from + n),
                                                           std::make_index_sequence<n>{})
                                              : Simd<Pair>{};
                }
                transpose<Pair>(square);
                Pair* to = by_sample + (c / TILE * capacity / 2 + p * PANEL_PAIRS + s) * TILE;
                for (int i = 0; i < n; ++i) store(to + i * TILE + c % TILE, square[i]);
            }
}

// Two samples, pairs of features each, to one row of pairs of samples, a feature each: element f
// lies at out[f / TILE * jump + f % TILE].
template <size_t... J>
INLINE void zip_samples(const Pair* first, const Pair* second, int64_t n_pairs, Pair* out,
                        int64_t jump, std::index_sequence<J...>) {
    constexpr int n = sizeof...(J);
    for (int64_t c = 0; c < n_pairs; c += n) {
        const Simd<Pair> x = load(first + c), y = load(second + c);
        const Simd<Pair> even = (x & ~UPPER) | y << 16, odd = x >> 16 | (y & UPPER);
        Pair* const to = out + 2 * c / TILE * jump + 2 * c % TILE;
        store(to, __builtin_shufflevector(even, odd, int(J / 2 + J % 2 * n)...));
        store(to + n, __builtin_shufflevector(even, odd, int(n / 2 + J / 2 + J % 2 * n)...));
    }
}

// Pairs of features that a stored sample has: whole vectors of every version.
constexpr int64_t stored_pairs(int64_t n_features) { return round_up(n_features, 32) / 2; }

// The rows of a batch of samples stored as pairs of features, (n, stored_pairs).
template <>
class BatchRows<Pair> {
public:
    BatchRows(int64_t n_features, int64_t capacity)
        : n_pairs_(stored_pairs(n_features)),
          capacity_(capacity),
          zeros_(size_t(n_pairs_)),
          zipped_(size_t(round_up(2 * n_pairs_, TILE) * capacity / 2)),
          source_(size_t(capacity) + TILE) {
        for (int64_t s = 0; s < capacity / 2; ++s) row_.push_back(zipped_.data() + s * TILE);
    }

    // Finds n rows, padded to whole panels.
    void find(const Pair* images, const int64_t* order, int64_t n) {
        std::fill(source_.begin(), source_.end(), zeros_.data());
        for (int64_t s = 0; s < n; ++s) source_[size_t(s)] = images + order[s] * n_pairs_;
    }

    // Zips the samples of panel p for the weight gradient.
    void zip(int64_t p) {
        for (int64_t s = p * TILE; s < (p + 1) * TILE; s += 2)
            zip_samples(source_[size_t(s)], source_[size_t(s + 1)], n_pairs_,
                        zipped_.data() + s / 2 * TILE, capacity_ / 2 * TILE,
                        std::make_index_sequence<lanes<Pair>>{});
    }

    Samples<Pair> samples() const { return {row_.data(), capacity_ / 2 * TILE}; }
    const Pair* const* panel(int64_t p) const { return source_.data() + p * TILE; }

private:
    int64_t n_pairs_, capacity_;
    std::vector<Pair> zeros_, zipped_;
    std::vector<const Pair*> source_, row_;
};

}  // namespace antifragile
