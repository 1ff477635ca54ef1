// What the kernel is asked for, and the stretches of memory that it works on.
#pragma once

#include <cstdint>

constexpr int GROUP = 16;          // blocks computed side by side, in two vectors
constexpr int64_t STRETCH = 2048;  // elements after which a checksum begins anew

// target = size * noise; target += size * noise; target = source; nothing but the checksum;
// target += size * (scale * direction); with a source: target = source + ... where it says +=
enum Action { WRITE, ADD, COPY, CHECK, ALONG };

// K parameters of R replicas each; fields that only noise needs are null for COPY and CHECK.
struct Job {
    void* const* targets;        // (K)
    const void* const* sources;  // (K), or null
    const int64_t* counts;       // (K), elements of one replica
    const uint32_t* parameters;  // (K), their numbers
    const double* sizes;         // (K, R)
    const uint64_t* keys;        // (R)
    int64_t n_parameters, n_replicas;
    const float* table;          // of 32768 magnitudes, or null for signs
    uint32_t step, rule;
    int32_t action, threads;
    uint64_t* checksums;         // (K), zero at first; those of the targets are added; or null
    const void* const* factors;  // (K), of all filters of all replicas, or null; or directions
    const int64_t* filters;      // (K), elements of one filter, or null
    const double* scales;        // (R), or null
    const int64_t* channels;     // (K), of a filter, where they are innermost in memory
    const int64_t* places;       // (K), elements of such a channel; 1 for contiguous tensors
};

// One stretch of memory of one replica of one parameter, starting at a whole stretch; and at a whole
// filter where the channels of a filter are innermost, element by element of each.
struct Row {
    void* target;        // added to, or written to
    const void* source;  // what the target becomes a perturbed copy of, or null; of COPY a plain one
    int64_t begin;       // its first element's place in the replica
    int64_t count;
    uint64_t key;
    double size;
    uint32_t parameter;
    uint64_t* checksum;   // added to, or null
    const void* factors;  // of all filters of the replica, or null; the direction of ALONG
    int64_t filter;       // elements of one filter
    double scale;         // of ALONG
    int64_t channels, places;
};

// A bfloat16 number: the upper half of a float.
struct bfloat {
    uint16_t bits;
};

// A float16 number of IEEE 754.
struct half {
    uint16_t bits;
};

// One row's work on elements of one type.
struct Work {
    void (*signs)(const Row&, const Job&);
    void (*levels)(const Row&, const Job&, bool gathers);
    void (*along)(const Row&, const Job&);
    void (*across)(const Row&, const Job&, bool gathers);  // signs and levels, channels innermost
};

// What is compiled for every generation of processors.
struct Rows {
    Work of_float, of_double, of_bfloat, of_half;
    void (*check)(const Row&, int64_t item);
};
