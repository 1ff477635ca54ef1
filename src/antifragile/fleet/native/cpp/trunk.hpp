// One replica after its first layer: forward, loss, backward and update of one batch.
//
// Activations are kept as panels (units, TILE), samples side by side, so a narrow network stays in
// the cache however deep it is, and every product runs along whole vectors.
#pragma once

#include "adamw.hpp"
#include "factors.hpp"
#include "loss.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace antifragile {

// Memory for one group, zeroed, page-aligned; freed with its owner.
template <class T>
class Buffer {
public:
    explicit Buffer(int64_t n) : data_(allocate(n)) {}
    ~Buffer() { std::free(data_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    T* data() const { return data_; }

private:
    static T* allocate(int64_t n) {
        // Large buffers in large pages: a tile touches a page per row of every matrix.
        const int64_t page = int64_t(sizeof(T)) * n >= (4 << 20) ? 2 << 20 : 4096;
        const size_t bytes = size_t(round_up(int64_t(sizeof(T)) * n + 1, page));
        void* at = std::aligned_alloc(size_t(page), bytes);
        if (!at) throw std::bad_alloc();
#if defined(__linux__)
        if (page > 4096) madvise(at, bytes, MADV_HUGEPAGE);
#endif
        std::memset(at, 0, bytes);
        return static_cast<T*>(at);
    }
    T* data_;
};

// A layer's activations or gradients: panels of (units, TILE), `jump` elements apart.
template <class T>
struct Panels {
    T* data;
    int64_t jump;
    T* operator[](int64_t p) const { return data + p * jump; }  // of no panels: null
};

// A weight gradient by columns, each tile applied by AdamW while it is in the cache: gradient
// panels (rows, a panel's samples) against rows of samples, for w, m and v of (rows, stride), of
// which `factors` holds copies.
template <class T, class Q, class Keep>
void update_by_columns(Panels<Q> gradient, int64_t n_panels, Samples<Q> in,
                       const Factors<T, Q>& factors, T* w, T* m, T* v, const AdamW<T>& adamw,
                       Keep keep) {
    const int64_t stride = factors.stride, rows = factors.rows;
    for (int64_t column = 0; column < stride; column += TILE) {
        const int width = int(std::min<int64_t>(TILE, stride - column));
        for (int64_t first = 0; first < rows; first += ROWS)
            with_constant<ROWS>(int(std::min<int64_t>(ROWS, rows - first)), [&](auto constant) {
                constexpr int M = decltype(constant)::value;
                alignas(64) T tile[M * TILE];
                const auto ask = [&](int64_t p) {  // for what AdamW needs when the tile is done
                    for (int64_t i = p * M / n_panels; i < (p + 1) * M / n_panels; ++i)
                        for (int c = 0; c < width; c += 64 / int(sizeof(T)))
                            for (const T* matrix : {w, m, v})
                                __builtin_prefetch(matrix + (first + i) * stride + column + c, 1);
                };
                gradient_tile<T, Q, M>(gradient.data + first * TILE / packed<Q>, gradient.jump,
                                       n_panels, in.row, column / TILE * in.jump, width, tile, ask);
                for (int i = 0; i < M; ++i) {
                    const int64_t at = (first + i) * stride + column;
                    adamw.update(w + at, m + at, v + at, tile + i * TILE, width, keep(first + i));
                }
                factors.renew(first, M, column, width);
            });
    }
}

// The bits, signs aside, in which any of a row's TILE values differs from `value`. As integers,
// because the compiler makes vectors of that.
template <class T>
INLINE uint64_t differing_bits(const T* row, T value) {
    using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    Bits expected, words[TILE], any = 0;
    std::memcpy(&expected, &value, sizeof expected);
    std::memcpy(words, row, sizeof words);
    for (int s = 0; s < TILE; ++s) any |= words[s] ^ expected;
    return any & ~(Bits(1) << (8 * sizeof(Bits) - 1));
}

// Whether every sample has the same activations: true from some layer on in deep dead networks.
template <class T>
bool is_constant(Panels<T> hidden, int64_t units, int64_t n_panels) {
    for (int64_t unit = 0; unit < units; ++unit)
        for (int64_t p = 0; p < n_panels; ++p)
            if (differing_bits(hidden[p] + unit * TILE, hidden[0][unit * TILE])) return false;
    return true;
}

// Whether all of it is zero.
template <class T>
bool is_zero(Panels<T> values, int64_t units, int64_t n_panels) {
    for (int64_t p = 0; p < n_panels; ++p)
        for (int64_t row = 0; row < units * TILE; row += TILE)
            if (differing_bits(values[p] + row, T(0))) return false;
    return true;
}

// Two shortcuts change no bit (weights being finite): where all samples of a batch have the same
// activations, one panel stands for all (`jump` is 0), and where a gradient is zero, all below
// it are. Networks of hundreds of layers often begin in that state.
template <class T, class Q>
class Trunk {
public:
    // capacity: samples of the largest batch, a multiple of TILE.
    Trunk(const Network& net, int64_t capacity)
        : net_(net),
          capacity_(capacity),
          n_panels_(capacity / TILE),
          kept_(net.hidden_units * capacity),
          gradient_{Buffer<T>(net.widest * capacity), Buffer<T>(net.widest * capacity)},
          by_sample_(net.widest_input * capacity / packed<Q>),
          left_(rounds ? net.widest * capacity / 2 : 0),
          room_(rounds ? round_up(std::max(net.widest, net.widest_input), 2) * PANEL_PAIRS : 0),
          narrow_gradient_(net.narrow_length),
          ones_(TILE),
          zeros_(TILE) {
        std::fill_n(ones_.data(), TILE, T(1));
        for (int64_t s = 0; s < capacity / packed<Q>; ++s) row_.push_back(by_sample_.data() + s * TILE);
    }

    // Activations of the first layer in, logits out; dropout only when training at `step` >= 0.
    Panels<T> forward(const Replica<T>& r, Panels<T> first, int64_t n_panels, int64_t step) {
        const auto p_drop = [&](const Layer& layer) { return step >= 0 ? r.p_drop(layer) : 0; };
        activation_.assign(1, first);
        if (p_drop(net_.layers[0]) > 0) drop(r, first, n_panels, 0, step);
        T* next = kept_.data();
        for (size_t i = 1; i < net_.layers.size(); ++i) {
            const Layer& layer = net_.layers[i];
            const bool last = i + 1 == net_.layers.size();
            Panels<T> out{last ? gradient_[0].data() : next, layer.fan_out * TILE};
            const Panels<T> in = activation_.back();
            const Panels<T> stream = layer.adds ? activation_[i - 2] : Panels<T>{nullptr, 0};
            const bool drops = !last && p_drop(layer) > 0;
            const int64_t distinct = in.jump || stream.jump || drops || last ? n_panels : 1;
            for (int64_t p = 0; p < distinct; ++p)
                with_factors(r, layer, [&](const auto& factors, auto* room) {
                    factors.forward(r.weight + layer.bias, in[p], layer.fan_in, stream[p], out[p],
                                    !last, room);
                });
            if (last) return out;
            if (drops)
                drop(r, out, n_panels, int64_t(i), step);
            else if (distinct == 1 ||
                     (i % CHECK_EVERY == 0 && is_constant(out, layer.fan_out, n_panels)))
                out.jump = 0;
            activation_.push_back(out);
            next += layer.fan_out * capacity_;
        }
        return first;
    }

    // Gradient of the logits (in gradient_[0]) down to the first layer's, updating on the way.
    void backward(Replica<T>& r, Panels<T> first_gradient, int64_t n_panels, const AdamW<T>& adamw) {
        Panels<T> gradient{gradient_[0].data(), net_.layers.back().fan_out * TILE};
        Panels<T> above{nullptr, 0};  // the gradient before, of the layer above
        for (size_t i = net_.layers.size() - 1; i > 0; --i) {
            const Layer& layer = net_.layers[i];
            T* other = gradient.data == gradient_[0].data() ? gradient_[1].data()
                                                            : gradient_[0].data();
            const Panels<T> below = i == 1 ? first_gradient : Panels<T>{other, layer.fan_in * TILE};
            const Panels<T> in = activation_[i - 1];
            const double p_drop = r.p_drop(net_.layers[i - 1]);
            const T scale = p_drop > 0 ? T(1 / (1 - p_drop)) : T(1);
            // `above` and `below` may be one buffer: each element is read before it is written.
            const bool joins = i + 1 < net_.layers.size() && net_.layers[i + 1].adds;
            const Panels<T> stream = joins ? above : Panels<T>{nullptr, 0};
            for (int64_t p = 0; p < n_panels; ++p)
                with_factors(r, layer, [&](const auto& factors, auto* room) {
                    factors.backward(gradient[p], in[p], stream[p], scale, below[p], layer.fan_in,
                                     room);
                });
            if (layer.wide)
                update_wide(r, layer, gradient, in, n_panels, adamw);
            else
                collect_narrow(layer, gradient, in, n_panels);
            above = gradient;
            gradient = below;
            if (layer.checked && is_zero(below, layer.fan_in, n_panels)) {
                nothing_below(r, i, first_gradient, n_panels, adamw);
                gradient = first_gradient;
                break;
            }
        }
        sum_rows(gradient, net_.layers[0].fan_out, n_panels, narrow_gradient_.data());
        adamw.update(r.weight, r.m, r.v, narrow_gradient_.data(), net_.narrow_length, r.keep);
    }

    // Rounds all of a replica's wide layers, whose weights have just come in.
    void renew(const Replica<T>& r) const {
        for (const Layer& layer : net_.layers)
            if (layer.wide) factors_of(r, layer).renew();
    }

private:
    static constexpr bool rounds = packed<Q> > 1;

    Factors<T, Q> factors_of(const Replica<T>& r, const Layer& layer) const {
        const T* const weight = r.weight + layer.weight;
        if constexpr (rounds) {
            Pair* const by_input = r.pairs + layer.pairs;
            return {weight, layer.stride, layer.fan_out, by_input,
                    by_input + layer.fan_out * layer.stride / 2};
        } else {
            return {weight, layer.stride, layer.fan_out};
        }
    }

    // Calls body with a layer's factors: narrow layers are never rounded.
    template <class Body>
    void with_factors(const Replica<T>& r, const Layer& layer, Body body) const {
        if (layer.wide)
            body(factors_of(r, layer), room_.data());
        else
            body(Factors<T, T>{r.weight + layer.weight, layer.stride, layer.fan_out},
                 static_cast<T*>(nullptr));
    }

    void drop(const Replica<T>& r, Panels<T> hidden, int64_t n_panels, int64_t layer,
              int64_t step) const {
        const int64_t units = net_.layers[size_t(layer)].fan_out;
        const double p_drop = r.p_drop(net_.layers[size_t(layer)]);
        uint64_t words = r.dropout_key;
        for (int64_t counter : {r.meta_loop, step, layer})
            words = splitmix64(words ^ uint64_t(counter));
        const uint32_t a = uint32_t(words), b = uint32_t(words >> 32);
        const uint32_t threshold = uint32_t(p_drop * 4294967296.0);
        const T scale = T(1 / (1 - p_drop));
        for (int64_t p = 0; p < n_panels; ++p) {
            uint32_t sample[TILE];
            bool hashed = false;
            for (int64_t unit = 0; unit < units; ++unit) {
                T* row = hidden[p] + unit * TILE;
                if (is_zero<T>({row, 0}, 1, 1)) continue;  // nothing to drop in a dead unit
                if (!hashed) hash_samples(p, a, sample);
                hashed = true;
                const uint32_t word = uint32_t(unit) * GOLDEN + b;
                for (int s = 0; s < TILE; ++s)
                    row[s] *= mix32(sample[s] ^ word) >= threshold ? scale : T(0);
            }
        }
    }

    static void hash_samples(int64_t panel, uint32_t word, uint32_t (&out)[TILE]) {
        for (int s = 0; s < TILE; ++s) out[s] = mix32(uint32_t(panel * TILE + s) * GOLDEN + word);
    }

    // The update of layers 1 .. above - 1 when no gradient reaches them.
    void nothing_below(Replica<T>& r, size_t above, Panels<T> first_gradient, int64_t n_panels,
                       const AdamW<T>& adamw) {
        for (int64_t p = 0; p < n_panels; ++p)
            std::fill_n(first_gradient[p], net_.layers[0].fan_out * TILE, T(0));
        for (size_t i = 1; i < above; ++i) {
            const Layer& layer = net_.layers[i];
            const int64_t rows = layer.wide ? layer.fan_out : 0;
            if (!layer.wide)
                std::fill_n(narrow_gradient_.data() + layer.weight,
                            layer.fan_out * (layer.fan_in + 1), T(0));
            for (int64_t at = layer.weight; at < layer.weight + rows * layer.stride; at += ALIGN)
                adamw.update(r.weight + at, r.m + at, r.v + at, zeros_.data(), ALIGN, r.keep);
            if (layer.wide) factors_of(r, layer).renew();
            for (int64_t at = layer.bias; at < layer.bias + rows; at += ALIGN)
                adamw.update(r.weight + at, r.m + at, r.v + at, zeros_.data(), ALIGN, r.keep);
        }
    }

    // out[unit] = sum over the samples of its row.
    void sum_rows(Panels<T> rows, int64_t units, int64_t n_panels, T* out) const {
        for (int64_t unit = 0; unit < units; ++unit) {
            Simd<T> sum{};
            for (int64_t p = 0; p < n_panels; ++p)
                for (int s = 0; s < TILE; s += lanes<T>) sum += load(rows[p] + unit * TILE + s);
            out[unit] = sum_lanes<T>(sum);
        }
    }

    void update_wide(Replica<T>& r, const Layer& layer, Panels<T> gradient, Panels<T> in,
                     int64_t n_panels, const AdamW<T>& adamw) {
        const auto keep = [&](int64_t) { return r.keep; };
        const Samples<Q> samples{row_.data(), capacity_ / packed<Q> * TILE};
        Panels<Q> left;
        if constexpr (rounds) {
            pair_activations(in.data, in.jump, n_panels, layer.fan_in, capacity_, by_sample_.data());
            pair_samples(gradient.data, n_panels * layer.fan_out, left_.data());
            left = {left_.data(), layer.fan_out * PANEL_PAIRS};
        } else {
            pack_activations(in.data, in.jump, n_panels, layer.fan_in, capacity_, by_sample_.data());
            left = gradient;
        }
        update_by_columns(left, n_panels, samples, factors_of(r, layer), r.weight + layer.weight,
                          r.m + layer.weight, r.v + layer.weight, adamw, keep);
        bias_gradient_.resize(size_t(layer.fan_out));
        sum_rows(gradient, layer.fan_out, n_panels, bias_gradient_.data());
        adamw.update(r.weight + layer.bias, r.m + layer.bias, r.v + layer.bias,
                     bias_gradient_.data(), layer.fan_out, r.keep);
    }

    // Weight and bias gradient by dot products; the bias reads a row of ones.
    void collect_narrow(const Layer& layer, Panels<T> gradient, Panels<T> in, int64_t n_panels) {
        T* const out = narrow_gradient_.data();
        for (int64_t row = 0; row < layer.fan_out; row += DOT_ROWS)
            for (int64_t column = 0; column <= layer.fan_in; column += DOT_COLUMNS) {
                const T *x[DOT_ROWS], *y[DOT_COLUMNS];
                ptrdiff_t jump[DOT_COLUMNS];
                for (int i = 0; i < DOT_ROWS; ++i)
                    x[i] = gradient.data + std::min(row + i, layer.fan_out - 1) * TILE;
                for (int j = 0; j < DOT_COLUMNS; ++j) {
                    const bool bias = column + j >= layer.fan_in;
                    y[j] = bias ? ones_.data() : in.data + (column + j) * TILE;
                    jump[j] = bias ? 0 : in.jump;
                }
                T block[DOT_ROWS * DOT_COLUMNS];
                dot_block<T>(x, gradient.jump, y, jump, n_panels, block);
                for (int64_t i = 0; i < DOT_ROWS && row + i < layer.fan_out; ++i)
                    for (int64_t j = 0; j < DOT_COLUMNS && column + j <= layer.fan_in; ++j) {
                        const bool bias = column + j == layer.fan_in;
                        out[bias ? layer.bias + row + i
                                 : layer.weight + (row + i) * layer.fan_in + column + j] =
                            block[i * DOT_COLUMNS + j];
                    }
            }
    }

    const Network& net_;
    int64_t capacity_, n_panels_;
    Buffer<T> kept_;         // activations of hidden layers 1 .. L-1, layer after layer
    Buffer<T> gradient_[2];  // of the layer above and of the layer below
    Buffer<Q> by_sample_;    // input of the wide layer at hand
    Buffer<Q> left_, room_;  // rounded gradients of a batch; a rounded panel
    Buffer<T> narrow_gradient_;
    Buffer<T> ones_, zeros_;
    std::vector<Panels<T>> activation_;
    std::vector<const Q*> row_;  // of by_sample_
    std::vector<T> bias_gradient_;
};

}  // namespace antifragile
