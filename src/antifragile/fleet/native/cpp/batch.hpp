// A batch in the two layouts its products read.
//
// Forward products read it by feature: panels (features, TILE), transposed one panel at a time so
// that the panel stays in the cache. Weight gradients read it by sample, through pointers to rows:
// the data set's own rows where their length suits, else padded copies. Samples beyond the end of
// a short batch are zero in both, and weigh nothing in the loss.
#pragma once

#include "network.hpp"

namespace antifragile {

// Rows of samples for a weight gradient: element (s, c) is row[s][c / TILE * jump + c % TILE].
template <class T>
struct Samples {
    const T* const* row;
    ptrdiff_t jump;
};

// Transposes lanes samples into columns of a panel. The rows of the next samples are asked for
// meanwhile: they lie at random places in memory.
template <class T>
void transpose_samples(const T* const* rows, const T* const* next, int64_t n_features, T* panel) {
    for (int64_t c = 0; c < n_features; c += lanes<T>) {
        const int64_t width = std::min<int64_t>(lanes<T>, n_features - c);
        Simd<T> square[lanes<T>];
        for (int i = 0; i < lanes<T>; ++i) {
            __builtin_prefetch(next[i] + c);
            if (width == lanes<T>) {
                square[i] = load(rows[i] + c);
            } else {
                T part[lanes<T>] = {};
                std::memcpy(part, rows[i] + c, sizeof(T) * size_t(width));
                square[i] = load(part);
            }
        }
        transpose<T>(square);
        for (int i = 0; i < width; ++i) store(panel + (c + i) * TILE, square[i]);
    }
}

// One panel (features, TILE) from pointers to TILE rows (and those that will be needed next).
template <class T>
void pack_panel(const T* const* rows, const T* const* next, int64_t n_features, T* panel) {
    for (int s = 0; s < TILE; s += lanes<T>)
        transpose_samples<T>(rows + s, s + lanes<T> < TILE ? rows + s + lanes<T> : next, n_features,
                             panel + s);
}

// Activations (panels of (units, TILE), `jump` apart) turned into rows of samples: column panels
// of (capacity, TILE), columns padded with zeros.
template <class T>
void pack_activations(const T* panels, int64_t jump, int64_t n_panels, int64_t units,
                      int64_t capacity, T* by_sample) {
    for (int64_t p = 0; p < n_panels; ++p)
        for (int64_t c = 0; c < round_up(units, ALIGN); c += lanes<T>)
            for (int s = 0; s < TILE; s += lanes<T>) {
                Simd<T> square[lanes<T>];
                for (int i = 0; i < lanes<T>; ++i)
                    square[i] = c + i < units ? load(panels + p * jump + (c + i) * TILE + s)
                                              : Simd<T>{};
                transpose<T>(square);
                for (int i = 0; i < lanes<T>; ++i)
                    store(by_sample + (c / TILE * capacity + p * TILE + s + i) * TILE + c % TILE,
                          square[i]);
            }
}

// The rows of a batch, found and where necessary copied to padded rows.
template <class T>
class BatchRows {
public:
    BatchRows(int64_t n_features, int64_t capacity)
        : n_features_(n_features),
          stride_(round_up(n_features, ALIGN)),
          // Rows a multiple of 1 KiB apart would compete for a few sets of the cache.
          copies_(n_features % ALIGN != 0 || n_features % 256 == 0) {
        if (stride_ % 256 == 0) stride_ += ALIGN;
        zeros_.resize(size_t(stride_));
        if (copies_) copy_.resize(size_t(capacity * stride_));
        source_.resize(size_t(capacity) + TILE);
        row_.resize(size_t(capacity));
    }

    // Finds n rows, padded to whole panels; more than one panel is always safe to prefetch.
    void find(const T* images, const int64_t* order, int64_t n) {
        std::fill(source_.begin(), source_.end(), zeros_.data());
        for (int64_t s = 0; s < n; ++s) source_[size_t(s)] = images + order[s] * n_features_;
        if (!copies_) {
            std::copy_n(source_.begin(), row_.size(), row_.begin());
            return;
        }
        for (size_t s = 0; s < row_.size(); ++s) {
            T* const to = copy_.data() + int64_t(s) * stride_;
            std::memcpy(to, source_[s], sizeof(T) * size_t(n_features_));
            row_[s] = to;
        }
    }

    Samples<T> samples() const { return {row_.data(), TILE}; }
    const T* const* panel(int64_t p) const { return source_.data() + p * TILE; }

private:
    int64_t n_features_, stride_;
    bool copies_;
    std::vector<T> zeros_, copy_;
    std::vector<const T*> source_, row_;
};

}  // namespace antifragile
