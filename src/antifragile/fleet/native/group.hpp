// A group of replicas that read the same batches: one meta-loop's epoch and validation.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

#include "trunk.hpp"

namespace antifragile {

// What one call trains; mirrored by `Job` in fleet/native_kernel.py. Arrays of T are void here.
struct Job {
    int64_t n_layers;
    const int64_t* sizes;             // (n_layers + 1,) units from input to logits
    const void* images;               // (n_train, sizes[0]) T; n_train = 0 only evaluates
    const int64_t* labels;            // (n_train,)
    int64_t n_train;
    const void* evaluation;           // by_feature panels of the samples to count
    const int64_t* evaluation_labels;
    int64_t n_evaluation;
    int64_t batch_size;
    AdamWOptions adamw;
    int64_t n_groups;
    const int64_t* group_start;       // (n_groups + 1,) into the replicas
    const int64_t* const* orders;     // (n_groups,) of (n_train,)
    void* const* weights;             // (replicas,) of (parameters,) T, updated in place
    const double* weight_decay;       // (replicas,)
    const double* dropout;
    const uint64_t* dropout_key;
    const int64_t* meta_loop;
    double* train_loss;               // (replicas,) out: mean over the epoch's samples
    int64_t* correct;                 // (replicas,) out
    int64_t threads;
    const int32_t* stop;              // set from outside to end early
};

template <class T>
class Group {
public:
    Group(const Job& job, const Network& net, int64_t n_replicas)
        : job_(job),
          net_(net),
          n_features_(net.layers[0].fan_in),
          stride_(net.layers[0].stride),
          capacity_(round_up(std::min(job.batch_size, std::max(job.n_train, int64_t(TILE))), TILE)),
          rows_(n_replicas * net.first_width()),
          first_(3 * rows_ * stride_),
          regions_(3 * n_replicas * net.region),
          panel_(n_features_ * TILE),
          hidden_(rows_ * capacity_),
          gradient_(rows_ * capacity_),
          bias_(rows_),
          batch_(n_features_, capacity_),
          trunk_(net, capacity_),
          replicas_(size_t(n_replicas)) {}

    void run(int64_t group) {
        begin_ = job_.group_start[group];
        count_ = job_.group_start[group + 1] - begin_;
        rows_ = count_ * net_.first_width();
        enter();
        if (job_.n_train) train(job_.orders[group]);
        evaluate();
        if (job_.n_train)
            for (int64_t i = 0; i < count_; ++i)
                replicas_[size_t(i)].write(net_, static_cast<T*>(job_.weights[begin_ + i]));
    }

private:
    void enter() {
        const int64_t matrix = net_.first_width() * stride_;
        const int64_t all = count_ * matrix, regions = count_ * net_.region;
        std::fill_n(first_.data(), 3 * all, T(0));
        std::fill_n(regions_.data(), 3 * regions, T(0));
        for (int64_t i = 0; i < count_; ++i) {
            Replica<T>& r = replicas_[size_t(i)];
            r.first_weight = first_.data() + i * matrix;
            r.first_m = r.first_weight + all;
            r.first_v = r.first_m + all;
            r.weight = regions_.data() + i * net_.region;
            r.m = r.weight + regions;
            r.v = r.m + regions;
            r.keep = T(1 - job_.adamw.learning_rate * job_.weight_decay[begin_ + i]);
            r.dropout = job_.dropout[begin_ + i];
            r.dropout_key = job_.dropout_key[begin_ + i];
            r.meta_loop = job_.meta_loop[begin_ + i];
            r.read(net_, static_cast<const T*>(job_.weights[begin_ + i]));
            job_.train_loss[begin_ + i] = 0;
        }
    }

    void train(const int64_t* order) {
        int64_t step = 0;
        for (int64_t at = 0; at < job_.n_train && !*job_.stop; at += job_.batch_size, ++step)
            train_batch(order + at, std::min(job_.batch_size, job_.n_train - at), step);
        for (int64_t i = 0; i < count_; ++i) job_.train_loss[begin_ + i] /= double(job_.n_train);
    }

    void train_batch(const int64_t* order, int64_t n, int64_t step) {
        const AdamW<T> adamw(job_.adamw, step + 1);
        const int64_t n_panels = round_up(n, TILE) / TILE;
        labels_.resize(size_t(n));
        for (int64_t s = 0; s < n; ++s) labels_[size_t(s)] = job_.labels[order[s]];
        batch_.find(static_cast<const T*>(job_.images), order, n);
        join_biases();
        for (int64_t p = 0; p < n_panels; ++p) {
            pack_panel<T>(batch_.panel(p), batch_.panel(p + 1), n_features_, panel_.data());
            forward_first(panel_.data(), p);
        }
        for (int64_t i = 0; i < count_; ++i) {
            Replica<T>& r = replicas_[size_t(i)];
            const Panels<T> logits = trunk_.forward(r, own(hidden_, i), n_panels, step);
            for (int64_t p = 0; p < n_panels; ++p)
                job_.train_loss[begin_ + i] += cross_entropy_panel<T>(
                    logits[p], net_.n_classes(), labels_.data() + p * TILE,
                    int(std::min<int64_t>(TILE, n - p * TILE)), T(1) / T(n));
            trunk_.backward(r, own(gradient_, i), n_panels, adamw);
        }
        const int64_t width = net_.first_width();
        T* const first = first_.data();
        update_by_columns<T>({gradient_.data(), rows_ * TILE}, n_panels, batch_.samples(), stride_,
                             rows_, first, first + rows_ * stride_,
                             first + 2 * rows_ * stride_, adamw,
                             [&](int64_t row) { return replicas_[size_t(row / width)].keep; });
    }

    // The first layer of all replicas, one product with one panel of the shared batch.
    void forward_first(const T* panel, int64_t p) {
        forward_panel<T>(first_.data(), stride_, bias_.data(), panel, n_features_,
                         hidden_.data() + p * rows_ * TILE, rows_, true);
    }

    void join_biases() {
        const int64_t width = net_.first_width();
        for (int64_t i = 0; i < count_; ++i)
            std::copy_n(replicas_[size_t(i)].weight, width, bias_.data() + i * width);
    }

    void evaluate() {
        const T* panels = static_cast<const T*>(job_.evaluation);
        std::fill_n(job_.correct + begin_, count_, 0);
        join_biases();
        for (int64_t at = 0; at < job_.n_evaluation && !*job_.stop; at += capacity_) {
            const int64_t n = std::min(capacity_, job_.n_evaluation - at);
            const int64_t n_panels = round_up(n, TILE) / TILE;
            for (int64_t p = 0; p < n_panels; ++p)
                forward_first(panels + (at + p * TILE) * n_features_, p);
            for (int64_t i = 0; i < count_; ++i) {
                const Panels<T> logits =
                    trunk_.forward(replicas_[size_t(i)], own(hidden_, i), n_panels, -1);
                for (int64_t p = 0; p < n_panels; ++p)
                    job_.correct[begin_ + i] += count_correct_panel<T>(
                        logits[p], net_.n_classes(), job_.evaluation_labels + at + p * TILE,
                        int(std::min<int64_t>(TILE, n - p * TILE)));
            }
        }
    }

    // The rows of one replica in a buffer of first-layer panels (rows, TILE).
    Panels<T> own(const Buffer<T>& panels, int64_t replica) const {
        return {panels.data() + replica * net_.first_width() * TILE, rows_ * TILE};
    }

    const Job& job_;
    const Network& net_;
    int64_t n_features_, stride_, capacity_, rows_, begin_ = 0, count_ = 0;
    Buffer<T> first_;    // weights, m, v: (rows, stride) each
    Buffer<T> regions_;  // weights, m, v: (replicas, region) each
    Buffer<T> panel_, hidden_, gradient_, bias_;
    BatchRows<T> batch_;
    Trunk<T> trunk_;
    std::vector<Replica<T>> replicas_;
    std::vector<int64_t> labels_;
};

}  // namespace antifragile
