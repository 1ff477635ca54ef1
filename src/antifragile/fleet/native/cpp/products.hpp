// The four matrix products of a network, on panels.
//
// A panel is (rows, TILE) and contiguous: TILE samples of some features, or TILE features of some
// samples. Every element of a result is one chain of fused multiply-adds in a fixed order, so its
// bits do not depend on the other rows of a register block, nor on threads.
//
// T is the type of results, Q that of an operand's elements: T itself, or Pair, two values along
// the sum at once (`depth` counts elements). bfloat16.hpp makes such operands.
#pragma once

#include <algorithm>

#include "simd.hpp"

namespace antifragile {

// sum[m][n] += left(m, k) * right(k, n) for k < depth. left(m, k) = left[m * row + k * step];
// right(k) points to row k of the right factor.
template <class T, class Q, int M, int N, class Right>
INLINE void accumulate(Simd<T> (&sum)[M][N], const Q* left, ptrdiff_t row, ptrdiff_t step,
                       int64_t depth, Right right) {
    for (int64_t k = 0; k < depth; ++k, left += step) {
        const Q* const from = right(k);
        Simd<Q> column[N];
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) column[n] = load(from + n * lanes<Q>);
#pragma GCC unroll 6
        for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) multiply_add(sum[m][n], left[m * row], column[n]);
    }
}

// The rows of a panel, as `accumulate` reads them.
template <class Q>
INLINE auto rows_of(const Q* panel) {
    return [=](int64_t k) { return panel + k * TILE; };
}

// Calls body(constant<M>) with the compile-time M that equals `rows` (1 .. Most).
template <int Most, class Body>
INLINE void with_constant(int rows, Body body) {
    if constexpr (Most > 1) {
        if (rows != Most) return with_constant<Most - 1>(rows, body);
    }
    body(std::integral_constant<int, Most>{});
}

// out = bias + weight * in + stream, and ReLU if asked: one panel. weight: (fan_out, stride); in:
// (depth, TILE); stream and out: (fan_out, TILE); a null stream adds nothing.
template <class T, class Q>
void forward_panel(const Q* weight, ptrdiff_t stride, const T* bias, const Q* in, int64_t depth,
                   const T* stream, T* out, int64_t fan_out, bool relu) {
    for (int64_t first = 0; first < fan_out; first += ROWS)
        with_constant<ROWS>(int(std::min<int64_t>(ROWS, fan_out - first)), [&](auto rows) {
            constexpr int M = decltype(rows)::value;
            for (int at = 0; at < TILE; at += VECTORS * lanes<T>) {
                Simd<T> sum[M][VECTORS];
                for (int m = 0; m < M; ++m)
                    for (int n = 0; n < VECTORS; ++n) sum[m][n] = splat(bias[first + m]);
                accumulate<T, Q, M, VECTORS>(sum, weight + first * stride, stride, 1, depth,
                                             rows_of(in + at));
                for (int m = 0; m < M; ++m)
                    for (int n = 0; n < VECTORS; ++n) {
                        const ptrdiff_t where = (first + m) * TILE + at + n * lanes<T>;
                        const Simd<T> z = stream ? sum[m][n] + load(stream + where) : sum[m][n];
                        const Simd<T> a = z <= T(0) ? Simd<T>{} : z;  // NaN stays NaN
                        store(out + where, relu ? a : z);
                    }
            }
        });
}

// gradient_in = scale * (weight' * gradient + stream) where the activation is positive, else 0: one
// panel. weight: (depth, stride); gradient: (depth, TILE); a null stream adds nothing, and it may be
// gradient_in itself.
template <class T, class Q>
void backward_panel(const Q* weight, ptrdiff_t stride, const Q* gradient, int64_t depth,
                    const T* activation, const T* stream, T scale, T* gradient_in,
                    int64_t fan_in) {
    for (int64_t first = 0; first < fan_in; first += ROWS)
        with_constant<ROWS>(int(std::min<int64_t>(ROWS, fan_in - first)), [&](auto rows) {
            constexpr int M = decltype(rows)::value;
            for (int at = 0; at < TILE; at += VECTORS * lanes<T>) {
                Simd<T> sum[M][VECTORS] = {};
                accumulate<T, Q, M, VECTORS>(sum, weight + first, 1, stride, depth,
                                             rows_of(gradient + at));
                for (int m = 0; m < M; ++m)
                    for (int n = 0; n < VECTORS; ++n) {
                        const ptrdiff_t where = (first + m) * TILE + at + n * lanes<T>;
                        const Simd<T> a = load(activation + where);
                        const Simd<T> g = stream ? sum[m][n] + load(stream + where) : sum[m][n];
                        store(gradient_in + where, a <= T(0) ? Simd<T>{} : g * scale);
                    }
            }
        });
}

// One tile of a weight gradient: tile (M, width) = sum over samples of gradient(m, s) in(s, n).
// gradient: n_panels panels `jump` apart, rows of a panel's samples; in: rows of samples, of which
// the elements from `column` on are read. before(p) is called as panel p begins.
template <class T, class Q, int M, class Before>
INLINE void gradient_tile(const Q* gradient, ptrdiff_t jump, int64_t n_panels, const Q* const* in,
                          ptrdiff_t column, int width, T* tile, Before before) {
    for (int at = 0; at < width; at += VECTORS * lanes<T>) {
        const int left = (width - at + lanes<T> - 1) / lanes<T>;
        with_constant<VECTORS>(left < VECTORS ? left : VECTORS, [&](auto vectors) {
            constexpr int N = decltype(vectors)::value;
            Simd<T> sum[M][N] = {};
            for (int64_t p = 0; p < n_panels; ++p) {
                if (at == 0) before(p);
                constexpr int depth = TILE / packed<Q>;
                const Q* const* rows = in + p * depth;
                accumulate<T, Q, M, N>(sum, gradient + p * jump, depth, 1, depth,
                                       [=](int64_t s) { return rows[s] + column + at; });
            }
            for (int m = 0; m < M; ++m)
                for (int n = 0; n < N; ++n) store(tile + m * TILE + at + n * lanes<T>, sum[m][n]);
        });
    }
}

// Rows of samples against rows of samples, for narrow layers: out(r, c) = x(r) . y(c). All
// pointers step over n_panels panels, x_jump and y_jump apart.
template <class T>
void dot_block(const T* const (&x)[DOT_ROWS], ptrdiff_t x_jump, const T* const (&y)[DOT_COLUMNS],
               const ptrdiff_t (&y_jump)[DOT_COLUMNS], int64_t n_panels, T* out) {
    constexpr int count = DOT_ROWS * DOT_COLUMNS;
    Simd<T> sum[DOT_ROWS][DOT_COLUMNS] = {};
    for (int64_t p = 0; p < n_panels; ++p)
        for (int at = 0; at < TILE; at += lanes<T>) {
            Simd<T> column[DOT_COLUMNS];
#pragma GCC unroll 4
            for (int c = 0; c < DOT_COLUMNS; ++c) column[c] = load(y[c] + p * y_jump[c] + at);
#pragma GCC unroll 4
            for (int r = 0; r < DOT_ROWS; ++r) {
                const Simd<T> row = load(x[r] + p * x_jump + at);
#pragma GCC unroll 4
                for (int c = 0; c < DOT_COLUMNS; ++c) sum[r][c] += row * column[c];
            }
        }
    for (int first = 0; first < count; first += lanes<T>) {
        Simd<T> part[lanes<T>] = {};
#pragma GCC unroll 16
        for (int i = 0; i < lanes<T>; ++i)
            if (first + i < count) part[i] = sum[(first + i) / DOT_COLUMNS][(first + i) % DOT_COLUMNS];
        const Simd<T> sums = sum_each<T>(part);
        std::memcpy(out + first, &sums, sizeof(T) * std::min(lanes<T>, count - first));
    }
}

}  // namespace antifragile
