// A weight matrix in the form its two products read: as it is, or as rounded copies that are renewed
// wherever AdamW has changed it.
#pragma once

#include "bfloat16.hpp"
#include "products.hpp"

namespace antifragile {

// Q is T: the matrix (rows, stride) itself.
template <class T, class Q>
struct Factors {
    const T* weight;
    int64_t stride, rows;

    void renew(int64_t, int64_t, int64_t, int64_t) const {}
    void renew() const {}

    // out = bias + weight * in + stream for one panel; `room` holds a rounded right factor.
    void forward(const T* bias, const T* in, int64_t fan_in, const T* stream, T* out, bool relu,
                 Q*) const {
        forward_panel<T, T>(weight, stride, bias, in, fan_in, stream, out, rows, relu);
    }

    // The gradient below, of one panel, from that above and from the stream.
    void backward(const T* gradient, const T* activation, const T* stream, T scale, T* below,
                  int64_t fan_in, Q*) const {
        backward_panel<T, T>(weight, stride, gradient, rows, activation, stream, scale, below,
                             fan_in);
    }
};

// Two copies: by_input (rows, stride / 2), pairs of inputs, for the forward product; by_unit
// (ceil(rows / 2), stride), pairs of units, for the backward one, null where there is none.
template <>
struct Factors<float, Pair> {
    const float* weight;
    int64_t stride, rows;
    Pair *by_input, *by_unit;

    // Rounds `count` rows from an even `first` on, `width` columns each.
    void renew(int64_t first, int64_t count, int64_t column, int64_t width) const {
        alignas(64) static constexpr float none[TILE] = {};
        for (int64_t row = first; row < first + count; ++row)
            join_neighbours(weight + row * stride + column, width / 2,
                            by_input + (row * stride + column) / 2);
        for (int64_t row = first; by_unit && row < first + count; row += 2) {
            const float* const from = weight + row * stride + column;
            join_rows(from, row + 1 < rows ? from + stride : none, width,
                      by_unit + row / 2 * stride + column);
        }
    }

    void renew() const {
        for (int64_t row = 0; row < rows; row += 2)
            for (int64_t column = 0; column < stride; column += TILE)
                renew(row, std::min<int64_t>(2, rows - row), column,
                      std::min<int64_t>(TILE, stride - column));
    }

    void forward(const float* bias, const float* in, int64_t fan_in, const float* stream,
                 float* out, bool relu, Pair* room) const {
        pair_units(in, fan_in, room);
        forward_panel<float, Pair>(by_input, stride / 2, bias, room, (fan_in + 1) / 2, stream, out,
                                   rows, relu);
    }

    void backward(const float* gradient, const float* activation, const float* stream, float scale,
                  float* below, int64_t fan_in, Pair* room) const {
        pair_units(gradient, rows, room);
        backward_panel<float, Pair>(by_unit, stride, room, (rows + 1) / 2, activation, stream,
                                    scale, below, fan_in);
    }
};

}  // namespace antifragile
