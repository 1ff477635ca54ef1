// Random noise that is drawn and added to parameters in one pass, with the old values saved in that
// pass where asked, a copy past the caches that restores them, and checksums (called by kernel.py).
//
// The same numbers as streams.py, bit for bit: Philox4x32-10 with key = seed and counter =
// (block, parameter, step, rule); products and sums are rounded one by one (no fused
// multiply-add), as torch rounds them.
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define VERSIONS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VERSIONS
#endif
#define INLINE inline __attribute__((always_inline))

namespace {

constexpr int GROUP = 16;           // blocks computed side by side, in two vectors
constexpr int64_t SHARE = 1 << 18;  // elements for which a further thread pays
constexpr int64_t STRETCH = 2048;   // elements after which a checksum's weights begin anew

typedef uint64_t Lanes __attribute__((vector_size(64)));

// One contiguous stretch of one replica of one parameter, starting at a whole group of blocks.
struct Row {
    void* target;   // added to, or written to
    void* backup;   // receives the old values, or null; the source of COPY
    int64_t count;
    uint64_t key;
    double size;
    uint32_t parameter, first_block;
    uint64_t* checksum;   // added to by CHECK
    const void* factors;  // of the row's filters, or null; the source of ALONG
    int64_t filter;       // elements of one filter
    double scale;         // of ALONG
};

// target = size * noise; target += size * noise; target = backup; checksum += that of target;
// target += size * (scale * source)
enum Action { WRITE, ADD, COPY, CHECK, ALONG };

// K parameters of R replicas each; fields that only noise needs are null for COPY and CHECK.
struct Job {
    void* const* targets;        // (K)
    void* const* backups;        // (K), or null
    const int64_t* counts;       // (K), elements of one replica
    const uint32_t* parameters;  // (K), their numbers
    const double* sizes;         // (K, R)
    const uint64_t* keys;        // (R)
    int64_t n_parameters, n_replicas;
    const float* table;          // of 32768 magnitudes, or null for signs
    uint32_t step, rule;
    int32_t action, threads;
    uint64_t* checksums;         // (K), zero at first, or null
    const void* const* factors;  // (K), each of all filters of all replicas, or null; or sources
    const int64_t* filters;      // (K), elements of one filter, or null
    const double* scales;        // (R), or null
};

// GROUP blocks of 128 bits, the four words of block b side by side from words[4 * b].
//
// A word is in the low half of a 64-bit lane, so that a product needs no shuffling; the upper half
// is cleared before the next product. Two chains of vectors hide the latency.
INLINE void philox(uint32_t* words, uint32_t block, const Row& row, const Job& job) {
    constexpr uint64_t low = 0xFFFFFFFFu;
    Lanes a[2], b[2], c[2], d[2];
    for (int v = 0; v < 2; ++v) {
        a[v] = ((Lanes{0, 1, 2, 3, 4, 5, 6, 7} + uint64_t(block)) + uint64_t(8 * v)) & low;
        b[v] = Lanes{} + row.parameter;
        c[v] = Lanes{} + job.step;
        d[v] = Lanes{} + job.rule;
    }
    uint64_t k0 = row.key & low, k1 = row.key >> 32;
    for (int round = 0; round < 10; ++round) {
        for (int v = 0; v < 2; ++v) {
            const Lanes first = (a[v] & low) * 0xD2511F53u;
            const Lanes second = (c[v] & low) * 0xCD9E8D57u;
            a[v] = (second >> 32) ^ b[v] ^ k0;
            b[v] = second;
            c[v] = (first >> 32) ^ d[v] ^ k1;
            d[v] = first;
        }
        k0 = (k0 + 0x9E3779B9u) & low;
        k1 = (k1 + 0xBB67AE85u) & low;
    }
    for (int v = 0; v < 2; ++v) {
        const Lanes left = (a[v] & low) | (b[v] << 32), right = (c[v] & low) | (d[v] << 32);
        const Lanes begin = __builtin_shuffle(left, right, Lanes{0, 8, 1, 9, 2, 10, 3, 11});
        const Lanes end = __builtin_shuffle(left, right, Lanes{4, 12, 5, 13, 6, 14, 7, 15});
        std::memcpy(words + 32 * v, &begin, sizeof begin);
        std::memcpy(words + 32 * v + 16, &end, sizeof end);
    }
}

// Returns x with its sign changed if bit number `bit` of the word is set.
INLINE float turned(float x, uint32_t word, int bit) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits ^= (word << (31 - bit)) & 0x80000000u;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
INLINE double turned(double x, uint32_t word, int bit) {
    uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits ^= uint64_t((word << (31 - bit)) & 0x80000000u) << 32;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// Writes or adds one element of noise; KEEPS saves the old value.
template <bool ADDS, bool KEEPS, class T>
INLINE void put(T noise, T* __restrict target, T* __restrict backup) {
    if (KEEPS) *backup = *target;
    *target = ADDS ? *target + noise : noise;
}

// Multiplies noise by the factors of the filters that its elements belong to.
template <class T>
INLINE void by_filter(T* noise, int64_t count, const Row& row, int64_t at) {
    const T* factors = static_cast<const T*>(row.factors);
    at += int64_t(row.first_block) * 8;
    for (int64_t done = 0; done < count;) {
        const int64_t number = (at + done) / row.filter;
        const int64_t left = (number + 1) * row.filter - (at + done);
        const int64_t end = done + left < count ? done + left : count;
        const T factor = factors[number];
        for (; done < end; ++done) noise[done] *= factor;
    }
}

template <bool ADDS, bool KEEPS, class T>
INLINE void signs(const Row& row, const Job& job) {
    uint32_t words[GROUP * 4];
    const T size = T(row.size);
    T *__restrict target = static_cast<T*>(row.target);
    T *__restrict backup = static_cast<T*>(row.backup);
    for (int64_t at = 0; at < row.count; at += GROUP * 128) {
        philox(words, uint32_t(row.first_block + at / 128), row, job);
        for (int64_t w = 0; w < GROUP * 4; ++w) {
            const uint32_t word = words[w];
            const int64_t from = at + w * 32;
            if (from + 32 <= row.count)
                for (int bit = 0; bit < 32; ++bit)
                    put<ADDS, KEEPS>(turned(size, word, bit), target + from + bit,
                                     backup + (KEEPS ? from + bit : 0));
            else
                for (int bit = 0; from + bit < row.count; ++bit)
                    put<ADDS, KEEPS>(turned(size, word, bit), target + from + bit,
                                     backup + (KEEPS ? from + bit : 0));
        }
    }
}

template <bool ADDS, bool KEEPS, class T>
INLINE void levels(const Row& row, const Job& job) {
    constexpr int64_t stretch = GROUP * 8;
    uint32_t words[GROUP * 4];
    uint16_t halves[stretch];
    T noise[stretch];
    const T size = T(row.size);
    T *__restrict target = static_cast<T*>(row.target);
    T *__restrict backup = static_cast<T*>(row.backup);
    for (int64_t at = 0; at < row.count; at += stretch) {
        philox(words, uint32_t(row.first_block + at / 8), row, job);
        for (int i = 0; i < GROUP * 4; ++i) {
            halves[2 * i] = uint16_t(words[i]);
            halves[2 * i + 1] = uint16_t(words[i] >> 16);
        }
        for (int i = 0; i < stretch; ++i) {
            uint32_t level = halves[i] & 0x7FFFu;
            asm("" : "+r"(level));  // prevents gather instructions, which are slower
            noise[i] = T(job.table[level]);
        }
        const int64_t count = row.count - at < stretch ? row.count - at : stretch;
        if (row.factors) {
            for (int i = 0; i < stretch; ++i) noise[i] = turned(noise[i], halves[i], 15);
            by_filter(noise, count, row, at);
            for (int i = 0; i < stretch; ++i) noise[i] *= size;
        } else
            for (int i = 0; i < stretch; ++i) noise[i] = size * turned(noise[i], halves[i], 15);
        for (int64_t i = 0; i < count; ++i)
            put<ADDS, KEEPS>(noise[i], target + at + i, backup + (KEEPS ? at + i : 0));
    }
}

template <class T>
INLINE void any_signs(const Row& row, const Job& job) {
    if (row.backup)
        signs<true, true, T>(row, job);
    else if (job.action == ADD)
        signs<true, false, T>(row, job);
    else
        signs<false, false, T>(row, job);
}

template <class T>
INLINE void any_levels(const Row& row, const Job& job) {
    if (row.backup)
        levels<true, true, T>(row, job);
    else if (job.action == ADD)
        levels<true, false, T>(row, job);
    else
        levels<false, false, T>(row, job);
}

VERSIONS void signs_float(const Row& row, const Job& job) { any_signs<float>(row, job); }
VERSIONS void signs_double(const Row& row, const Job& job) { any_signs<double>(row, job); }
VERSIONS void levels_float(const Row& row, const Job& job) { any_levels<float>(row, job); }
VERSIONS void levels_double(const Row& row, const Job& job) { any_levels<double>(row, job); }

// target = backup, past the caches: the overwritten memory is not read first.
void copy(const Row& row, int64_t item) {
    char* to = static_cast<char*>(row.target);
    const char* from = static_cast<const char*>(row.backup);
    int64_t left = row.count * item;
#if defined(__x86_64__)
    int64_t head = int64_t(-uintptr_t(to) & 15);
    head = head < left ? head : left;
    std::memcpy(to, from, size_t(head));
    for (to += head, from += head, left -= head; left >= 16; to += 16, from += 16, left -= 16)
        _mm_stream_si128(reinterpret_cast<__m128i*>(to),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    _mm_sfence();
#endif
    std::memcpy(to, from, size_t(left));
}

// Adds the checksum of a row's bits: in each stretch the sum of every element's bits times an odd
// number of its place, and the sum of these times an odd number of the stretch. A row starts at a
// whole stretch, since GROUP blocks of 128 elements are one.
template <class Bits>
INLINE void check(const Row& row) {
    const Bits* from = static_cast<const Bits*>(row.target);
    uint64_t total = 0;
    for (int64_t at = 0; at < row.count; at += STRETCH) {
        const int64_t end = row.count - at < STRETCH ? row.count : at + STRETCH;
        uint64_t sum = 0;
        for (int64_t i = at; i < end; ++i) sum += Bits(from[i] * Bits(2 * (i - at) + 1));
        total += sum * (2 * (uint64_t(row.first_block) / GROUP + uint64_t(at / STRETCH)) + 1);
    }
    __atomic_fetch_add(row.checksum, total, __ATOMIC_RELAXED);
}

VERSIONS void check_float(const Row& row) { check<uint32_t>(row); }
VERSIONS void check_double(const Row& row) { check<uint64_t>(row); }

template <bool KEEPS, class T>
INLINE void along(const Row& row) {
    const T size = T(row.size), scale = T(row.scale);
    const T* __restrict source = static_cast<const T*>(row.factors);
    T *__restrict target = static_cast<T*>(row.target);
    T *__restrict backup = static_cast<T*>(row.backup);
    for (int64_t i = 0; i < row.count; ++i)
        put<true, KEEPS>(size * (scale * source[i]), target + i, backup + (KEEPS ? i : 0));
}

template <class T>
INLINE void any_along(const Row& row) {
    if (row.backup)
        along<true, T>(row);
    else
        along<false, T>(row);
}

VERSIONS void along_float(const Row& row) { any_along<float>(row); }
VERSIONS void along_double(const Row& row) { any_along<double>(row); }

// One row per parameter and replica.
template <class T>
std::vector<Row> rows_of(const Job& job) {
    std::vector<Row> rows;
    for (int64_t k = 0; k < job.n_parameters; ++k)
        for (int64_t r = 0; r < job.n_replicas; ++r) {
            const int64_t at = r * job.counts[k];
            T* backup = job.backups ? static_cast<T*>(job.backups[k]) + at : nullptr;
            Row row{static_cast<T*>(job.targets[k]) + at, backup, job.counts[k], 0, 0.0, 0, 0,
                    job.checksums ? job.checksums + k : nullptr, nullptr, 1, 0.0};
            if (job.action == ALONG) {
                row.size = job.sizes[k * job.n_replicas + r];
                row.scale = job.scales[r];
                row.factors = static_cast<const T*>(job.factors[k]) + at;
            } else if (job.action <= ADD) {
                row.key = job.keys[r];
                row.size = job.sizes[k * job.n_replicas + r];
                row.parameter = job.parameters[k];
            }
            if (job.filters) {
                row.filter = job.filters[k];
                row.factors = static_cast<const T*>(job.factors[k]) + at / row.filter;
            }
            rows.push_back(row);
        }
    return rows;
}

// Rows cut at whole groups of blocks, so that several threads get about equally many elements.
template <class T>
std::vector<Row> cut(const std::vector<Row>& rows, const Job& job, int64_t share) {
    const int64_t per_block = job.table ? 8 : 128, whole = per_block * GROUP;
    share = (share + whole - 1) / whole * whole;
    std::vector<Row> pieces;
    for (const Row& row : rows)
        for (int64_t at = 0; at < row.count; at += share) {
            Row piece = row;
            piece.target = static_cast<T*>(row.target) + at;
            if (row.backup) piece.backup = static_cast<T*>(row.backup) + at;
            if (job.action == ALONG) piece.factors = static_cast<const T*>(row.factors) + at;
            piece.first_block = uint32_t(at / per_block);
            piece.count = row.count - at < share ? row.count - at : share;
            pieces.push_back(piece);
        }
    return pieces;
}

// Calls act on every row, with one thread per SHARE elements and at most job.threads.
template <class T, class Act>
void for_all(const std::vector<Row>& rows, const Job& job, int64_t total, const Act& act) {
    const int64_t worth = total / SHARE < 1 ? 1 : total / SHARE;
    const int64_t threads = worth < job.threads ? worth : job.threads;
    if (threads <= 1) {
        for (const Row& row : rows) act(row);
        return;
    }
    const std::vector<Row> pieces = cut<T>(rows, job, total / threads + 1);
    std::vector<int64_t> ends;  // index of each thread's last piece, plus one
    int64_t done = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
        done += pieces[i].count;
        if (done * threads >= total * int64_t(ends.size() + 1)) ends.push_back(int64_t(i) + 1);
    }
    const auto body = [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i) act(pieces[i]);
    };
    std::vector<std::thread> others;
    for (size_t i = 1; i < ends.size(); ++i) others.emplace_back(body, ends[i - 1], ends[i]);
    body(0, ends[0]);
    for (std::thread& other : others) other.join();
}

template <class T>
void run(const Job& job, void (*with_signs)(const Row&, const Job&),
         void (*with_levels)(const Row&, const Job&), void (*with_check)(const Row&),
         void (*with_along)(const Row&)) {
    const std::vector<Row> rows = rows_of<T>(job);
    int64_t total = 0;
    for (const Row& row : rows) total += row.count;
    const auto add = job.table ? with_levels : with_signs;
    if (job.action == COPY)
        for_all<T>(rows, job, total, [&](const Row& row) { copy(row, sizeof(T)); });
    else if (job.action == CHECK)
        for_all<T>(rows, job, total, with_check);
    else if (job.action == ALONG)
        for_all<T>(rows, job, total, with_along);
    else
        for_all<T>(rows, job, total, [&](const Row& row) { add(row, job); });
}

}  // namespace

extern "C" {

void antifragile_run_float32(const Job* job) {
    run<float>(*job, signs_float, levels_float, check_float, along_float);
}
void antifragile_run_float64(const Job* job) {
    run<double>(*job, signs_double, levels_double, check_double, along_double);
}

// Makes the file an importable extension module; it is loaded by ctypes.
void* PyInit__noise() { return nullptr; }
}
