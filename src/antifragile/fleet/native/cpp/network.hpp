// Positions of the parameters of a network, outside (one flat buffer per replica, in the order of the
// state dict) and inside a group that trains.
//
// Inside, the first layers of all replicas of a group are one matrix, (replicas * W1, stride): they
// read the same batch. The rest of a replica is one region: the bias of the first layer, then the
// narrow layers unpadded (their gradients are collected and applied at once), then the wide layers
// with padded rows (their gradients are applied tile by tile and never stored). Where products are
// bf16, they are so in the first layer and the wide ones, and rounded copies of these weights stand
// in a region of their own.
#pragma once

#include <algorithm>
#include <vector>

#include "simd.hpp"

namespace antifragile {

constexpr int64_t WIDE_FROM = 32;  // fan-in from which a gradient by columns beats dot products

constexpr int64_t CHECK_EVERY = 8;  // layers between looks for dead signals

struct Layer {
    int64_t fan_in, fan_out, outside, weight, bias, stride;
    bool wide;
    int64_t pairs = 0;     // of a wide layer: where its rounded copies begin
    bool adds = false;     // ends a residual block: the activations two layers below are added
    bool inside = false;   // lies inside a residual block: the layer above adds
    bool checked = false;  // whether backward looks for a dead signal here
};

struct Network {
    std::vector<Layer> layers;
    int64_t narrow_length = 0;  // elements of a region before its wide layers
    int64_t region = 0;         // elements of one replica beside its first weight matrix
    int64_t pairs = 0;          // pairs of one replica's rounded copies, first matrix not included
    int64_t widest = 0;         // units of the widest layer, logits included
    int64_t widest_input = 0;   // padded fan-in of the widest wide layer after the first
    int64_t hidden_units = 0;   // activations kept per sample, first layer not included

    Network(const int64_t* sizes, const int64_t* adds, int64_t n_layers) {
        int64_t outside = 0;
        for (int64_t i = 0; i < n_layers; ++i) {
            Layer layer{sizes[i], sizes[i + 1], outside, 0, 0, sizes[i], false};
            outside += layer.fan_out * (layer.fan_in + 1);
            layer.wide = i > 0 && layer.fan_in >= WIDE_FROM;
            layer.adds = adds[i];
            layer.inside = i + 1 < n_layers && adds[i + 1];
            widest = std::max(widest, layer.fan_out);
            if (i > 0 && i + 1 < n_layers) hidden_units += layer.fan_out;
            layers.push_back(layer);
        }
        place();
        choose_checked();
    }

    int64_t first_width() const { return layers[0].fan_out; }
    int64_t n_classes() const { return layers.back().fan_out; }

private:
    // Below a layer that adds, a zero gradient says nothing of the stream's.
    void choose_checked() {
        int64_t since = 0;
        for (Layer& layer : layers) {
            layer.checked = since >= CHECK_EVERY && !layer.adds;
            since = layer.checked ? 1 : since + 1;
        }
    }

    void place() {
        layers[0].stride = round_up(layers[0].fan_in, ALIGN);
        layers[0].bias = 0;
        int64_t at = layers[0].fan_out;
        for (Layer& layer : layers)
            if (&layer != &layers[0] && !layer.wide) {
                layer.weight = at;
                layer.bias = at + layer.fan_out * layer.fan_in;
                at = layer.bias + layer.fan_out;
            }
        at = narrow_length = round_up(at, ALIGN);
        for (Layer& layer : layers)
            if (layer.wide) {
                layer.stride = round_up(layer.fan_in, ALIGN);
                widest_input = std::max(widest_input, round_up(layer.fan_in, TILE));
                layer.weight = at;
                layer.bias = at + layer.fan_out * layer.stride;
                at = layer.bias + round_up(layer.fan_out, ALIGN);
                layer.pairs = pairs;
                pairs += (layer.fan_out + round_up(layer.fan_out, 2)) * layer.stride / 2;
            }
        region = at;
    }
};

// Rows of `width` elements copied between row lengths.
template <class T>
void copy_rows(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows,
               int64_t width) {
    for (int64_t r = 0; r < rows; ++r)
        std::memcpy(to + r * to_stride, from + r * from_stride, sizeof(T) * size_t(width));
}

// One replica inside a group: its weights and AdamW moments, in two pieces.
template <class T>
struct Replica {
    T *first_weight, *first_m, *first_v;  // (W1, stride)
    T *weight, *m, *v;                    // (region,)
    Pair* pairs;                          // rounded copies, where products are bf16
    T keep = 1;                           // 1 - learning rate * weight decay
    double dropout = 0, block_dropout = 0;
    uint64_t dropout_key = 0;
    int64_t meta_loop = 1;

    // The same replica with moments in place of weights, to read and write these.
    Replica first_moments() const {
        Replica other = *this;
        other.first_weight = first_m, other.weight = m;
        return other;
    }
    Replica second_moments() const {
        Replica other = *this;
        other.first_weight = first_v, other.weight = v;
        return other;
    }

    // Drop probability of a hidden layer's activations; the stream is not dropped after a block.
    double p_drop(const Layer& layer) const {
        return layer.adds ? 0 : layer.inside ? block_dropout : dropout;
    }

    void read(const Network& net, const T* outside) {
        for (size_t i = 0; i < net.layers.size(); ++i) {
            const Layer& layer = net.layers[i];
            T* inside = i == 0 ? first_weight : weight + layer.weight;
            const T* from = outside + layer.outside;
            copy_rows(from, layer.fan_in, inside, layer.stride, layer.fan_out, layer.fan_in);
            copy_rows(from + layer.fan_out * layer.fan_in, 0, weight + layer.bias, 0, 1,
                      layer.fan_out);
        }
    }

    void write(const Network& net, T* outside) const {
        for (size_t i = 0; i < net.layers.size(); ++i) {
            const Layer& layer = net.layers[i];
            const T* inside = i == 0 ? first_weight : weight + layer.weight;
            T* to = outside + layer.outside;
            copy_rows(inside, layer.stride, to, layer.fan_in, layer.fan_out, layer.fan_in);
            copy_rows(weight + layer.bias, 0, to + layer.fan_out * layer.fan_in, 0, 1,
                      layer.fan_out);
        }
    }
};

}  // namespace antifragile
