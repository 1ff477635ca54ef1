// One row's work. Included once for every generation of processors, inside a namespace and with the
// compiler's target set to it; what the target has decides which instructions are written by hand.
//
// The same numbers as streams.py, bit for bit: Philox4x32-10 with key = seed and counter =
// (block, parameter, step, rule); products and sums are rounded one by one (no fused
// multiply-add), as torch rounds them.

typedef uint64_t Lanes __attribute__((vector_size(VECTOR / 8)));
constexpr int N = VECTOR / 64;  // lanes of a vector
constexpr uint64_t LOW = 0xFFFFFFFFu;

// The lower halves of the lanes times m, in full. Compilers multiply whole lanes, several times
// slower, although the upper halves are not needed.
INLINE Lanes product(Lanes a, uint32_t m) {
#if VECTOR == 512
    return Lanes(_mm512_mul_epu32(__m512i(a), _mm512_set1_epi64(m)));
#elif VECTOR == 256
    return Lanes(_mm256_mul_epu32(__m256i(a), _mm256_set1_epi64x(m)));
#elif defined(__x86_64__)
    return Lanes(_mm_mul_epu32(__m128i(a), _mm_set1_epi64x(m)));
#elif defined(__ARM_NEON)
    return Lanes(vmull_u32(vmovn_u64(uint64x2_t(a)), vdup_n_u32(m)));
#else
    return (a & LOW) * m;
#endif
}

// The lanes 0, 1, 2, ... of a vector.
INLINE Lanes counted() {
    Lanes lanes{};
    for (int i = 0; i < N; ++i) lanes[i] = uint64_t(i);
    return lanes;
}

// 2 * N blocks of 128 bits, the four words of block b side by side from words[4 * b].
//
// A word is in the low half of a 64-bit lane, so that a product needs no shuffling; its upper half
// is disregarded. Two chains of vectors hide the latency.
INLINE void philox_pair(uint64_t* words, uint32_t block, const Row& row, const Job& job) {
    Lanes a[2], b[2], c[2], d[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
        a[v] = counted() + uint64_t(block) + uint64_t(N * v);
        b[v] = Lanes{} + row.parameter;
        c[v] = Lanes{} + job.step;
        d[v] = Lanes{} + job.rule;
    }
    uint64_t k0 = row.key & LOW, k1 = row.key >> 32;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
            const Lanes first = product(a[v], 0xD2511F53u);
            const Lanes second = product(c[v], 0xCD9E8D57u);
            a[v] = (second >> 32) ^ b[v] ^ k0;
            b[v] = second;
            c[v] = (first >> 32) ^ d[v] ^ k1;
            d[v] = first;
        }
        k0 = (k0 + 0x9E3779B9u) & LOW;
        k1 = (k1 + 0xBB67AE85u) & LOW;
    }
    for (int v = 0; v < 2; ++v) {
        const Lanes left = (a[v] & LOW) | (b[v] << 32), right = (c[v] & LOW) | (d[v] << 32);
        for (int i = 0; i < N; ++i) {
            words[2 * (N * v + i)] = left[i];
            words[2 * (N * v + i) + 1] = right[i];
        }
    }
}

// GROUP blocks from the one with that number.
INLINE void philox(uint32_t* words, uint32_t block, const Row& row, const Job& job) {
    uint64_t pairs[GROUP * 2];
    for (int b = 0; b < GROUP; b += 2 * N)
        philox_pair(pairs + 2 * b, block + uint32_t(b), row, job);
    std::memcpy(words, pairs, sizeof pairs);
}

// A checksum of bits: in each stretch the sums of all lower and upper halves of 64-bit words, and
// the sums of these running sums, so that places count; each times an odd number of its own.
struct Checksum {
    Lanes low{}, lows{}, high{}, highs{};

    INLINE void add(Lanes bits) {
        low += bits & LOW;
        lows += low;
        high += bits >> 32;
        highs += high;
    }

    INLINE void take(const void* from, int64_t bytes) {
        const char* at = static_cast<const char*>(from);
        for (; bytes >= int64_t(sizeof(Lanes)); at += sizeof(Lanes), bytes -= sizeof(Lanes)) {
            Lanes bits;
            std::memcpy(&bits, at, sizeof bits);
            add(bits);
        }
        if (bytes > 0) {
            Lanes bits{};
            std::memcpy(&bits, at, size_t(bytes));
            add(bits);
        }
    }

    // Ends a stretch and adds it to the row's checksum.
    INLINE void finish(const Row& row, int64_t at) {
        uint64_t sum = 0;
        for (uint64_t i = 0; i < N; ++i)
            sum += low[i] * (8 * i + 1) + lows[i] * (8 * i + 3) + high[i] * (8 * i + 5) +
                   highs[i] * (8 * i + 7);
        sum *= 2 * uint64_t((row.begin + at) / STRETCH) + 1;
        __atomic_fetch_add(row.checksum, sum, __ATOMIC_RELAXED);
        *this = Checksum();
    }
};

// Returns x with its sign changed if bit number `bit` of the word is set.
INLINE float turned(float x, uint32_t word, int bit) {
    return float_of(bits_of(x) ^ ((word << (31 - bit)) & 0x80000000u));
}
INLINE double turned(double x, uint32_t word, int bit) {
    uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits ^= uint64_t((word << (31 - bit)) & 0x80000000u) << 32;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

constexpr int64_t CHUNK = GROUP * 8;  // levels from one group of blocks

// Whether an element of noise is written, added to the target, or added to the source.
enum Put { WRITES, ADDS, COPIES };

template <Put HOW, class T, class W>
INLINE void put(const W* __restrict noise, T* __restrict target, const T* __restrict source,
                int64_t count) {
    const T* before = HOW == ADDS ? target : source;
    if constexpr (std::is_same_v<T, half>) {
        float sums[CHUNK];
        for (int64_t at = 0; at < count; at += CHUNK) {
            const int64_t n = count - at < CHUNK ? count - at : CHUNK;
            if (HOW != WRITES) widen(before + at, sums, n);
            for (int64_t i = 0; i < n; ++i)
                sums[i] = HOW == WRITES ? noise[at + i] : sums[i] + noise[at + i];
            narrow(sums, target + at, n);
        }
    } else {
        for (int64_t i = 0; i < count; ++i)
            store(target + i, HOW == WRITES ? noise[i] : load(before + i) + noise[i]);
    }
}

// Multiplies noise by the factors of the filters that its elements belong to.
template <class T, class W>
INLINE void by_filter(W* noise, int64_t count, const Row& row, int64_t at) {
    const T* factors = static_cast<const T*>(row.factors);
    at += row.begin;
    if (at / row.filter == (at + CHUNK - 1) / row.filter) {  // a fixed number is faster
        const W factor = load(factors + at / row.filter);
        for (int i = 0; i < CHUNK; ++i) noise[i] *= factor;
        round_all<T>(noise, CHUNK);
        return;
    }
    for (int64_t done = 0; done < count;) {
        const int64_t number = (at + done) / row.filter;
        const int64_t left = (number + 1) * row.filter - (at + done);
        const int64_t end = done + left < count ? done + left : count;
        const W factor = load(factors + number);
        for (; done < end; ++done) noise[done] = rounded<T>(noise[done] * factor);
    }
}

template <Put HOW, class T>
INLINE void signs(const Row& row, const Job& job) {
    static_assert(STRETCH == GROUP * 128, "a checksum's stretch is a group of blocks");
    typedef typename Computed<T>::W W;
    uint32_t words[GROUP * 4];
    Checksum sum;
    const W size = rounded<T>(W(row.size));
    T* __restrict target = static_cast<T*>(row.target);
    const T* __restrict source = static_cast<const T*>(row.source);
    for (int64_t at = 0; at < row.count; at += STRETCH) {
        philox(words, uint32_t((row.begin + at) / 128), row, job);
        for (int64_t w = 0; w < GROUP * 4; ++w) {
            const uint32_t word = words[w];
            const int64_t from = at + w * 32;
            W noise[32];
            for (int bit = 0; bit < 32; ++bit) noise[bit] = turned(size, word, bit);
            if (from + 32 <= row.count)  // a fixed number is faster
                put<HOW>(noise, target + from, source + (HOW == COPIES ? from : 0), 32);
            else if (from < row.count)
                put<HOW>(noise, target + from, source + (HOW == COPIES ? from : 0),
                         row.count - from);
        }
        if (row.checksum) {
            const int64_t count = row.count - at < STRETCH ? row.count - at : STRETCH;
            sum.take(target + at, count * int64_t(sizeof(T)));
            sum.finish(row, at);
        }
    }
}

// The magnitudes of a chunk's levels. Gathering them is faster on some processors, slower on others.
template <bool GATHERS>
INLINE void magnitudes(const uint16_t* halves, const float* table, float* found) {
#if VECTOR == 512
    if (GATHERS) {
        for (int i = 0; i < CHUNK; i += 16) {
            const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves + i));
            const __m512i level =
                _mm512_and_si512(_mm512_cvtepu16_epi32(half), _mm512_set1_epi32(0x7FFF));
            _mm512_storeu_ps(found + i, _mm512_i32gather_ps(level, table, 4));
        }
        return;
    }
#elif VECTOR == 256
    if (GATHERS) {
        for (int i = 0; i < CHUNK; i += 8) {
            const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + i));
            const __m256i level =
                _mm256_and_si256(_mm256_cvtepu16_epi32(half), _mm256_set1_epi32(0x7FFF));
            _mm256_storeu_ps(found + i, _mm256_i32gather_ps(table, level, 4));
        }
        return;
    }
#endif
    for (int i = 0; i < CHUNK; ++i) {
        uint32_t level = halves[i] & 0x7FFFu;
        asm("" : "+r"(level));  // or the compiler gathers
        found[i] = table[level];
    }
}

template <Put HOW, bool GATHERS, class T>
INLINE void levels(const Row& row, const Job& job) {
    static_assert(STRETCH % CHUNK == 0, "a checksum's stretch is whole chunks");
    uint32_t words[GROUP * 4];
    uint16_t halves[CHUNK];
    float found[CHUNK];
    typedef typename Computed<T>::W W;
    W noise[CHUNK];
    Checksum sum;
    const W size = W(row.size);
    T* __restrict target = static_cast<T*>(row.target);
    const T* __restrict source = static_cast<const T*>(row.source);
    for (int64_t at = 0; at < row.count; at += CHUNK) {
        philox(words, uint32_t((row.begin + at) / 8), row, job);
        std::memcpy(halves, words, sizeof halves);  // the lower half of a word comes first
        magnitudes<GATHERS>(halves, job.table, found);
        const int64_t count = row.count - at < CHUNK ? row.count - at : CHUNK;
        for (int i = 0; i < CHUNK; ++i) noise[i] = turned(W(found[i]), halves[i], 15);
        round_all<T>(noise, CHUNK);
        if (row.factors) by_filter<T>(noise, count, row, at);
        for (int i = 0; i < CHUNK; ++i) noise[i] *= size;
        round_all<T>(noise, CHUNK);
        const T* from = source + (HOW == COPIES ? at : 0);
        if (count == CHUNK)  // a fixed number is faster
            put<HOW>(noise, target + at, from, CHUNK);
        else
            put<HOW>(noise, target + at, from, count);
        if (row.checksum) {
            sum.take(target + at, count * int64_t(sizeof(T)));
            const int64_t next = at + CHUNK;
            if (next % STRETCH == 0 || next >= row.count) sum.finish(row, at);
        }
    }
}

template <Put HOW, class T>
INLINE void chunk_along(const Row& row, const T* direction, T* target, const T* source,
                        int64_t count) {
    typedef typename Computed<T>::W W;
    const W size = W(row.size), scale = W(row.scale);
    if constexpr (!std::is_same_v<T, half>) {  // without a stop in memory
        for (int64_t i = 0; i < count; ++i) {
            const W one = rounded<T>(size * rounded<T>(scale * load(direction + i)));
            put<HOW>(&one, target + i, source + (HOW == COPIES ? i : 0), 1);
        }
        return;
    }
    W noise[CHUNK];
    widen(direction, noise, count);
    for (int64_t i = 0; i < count; ++i) noise[i] *= scale;
    round_all<T>(noise, count);
    for (int64_t i = 0; i < count; ++i) noise[i] *= size;
    round_all<T>(noise, count);
    put<HOW>(noise, target, source, count);
}

template <Put HOW, class T>
INLINE void along(const Row& row) {
    Checksum sum;
    const T* __restrict direction = static_cast<const T*>(row.factors);
    T* __restrict target = static_cast<T*>(row.target);
    const T* __restrict source = static_cast<const T*>(row.source);
    for (int64_t at = 0; at < row.count; at += STRETCH) {
        const int64_t end = row.count - at < STRETCH ? row.count : at + STRETCH;
        for (int64_t from = at; from < end; from += CHUNK) {
            const T* before = source + (HOW == COPIES ? from : 0);
            if (from + CHUNK <= end)  // a fixed number is faster
                chunk_along<HOW>(row, direction + from, target + from, before, CHUNK);
            else
                chunk_along<HOW>(row, direction + from, target + from, before, end - from);
        }
        if (row.checksum) {
            sum.take(target + at, (end - at) * int64_t(sizeof(T)));
            sum.finish(row, at);
        }
    }
}

template <class T>
void any_signs(const Row& row, const Job& job) {
    if (row.source)
        signs<COPIES, T>(row, job);
    else if (job.action == ADD)
        signs<ADDS, T>(row, job);
    else
        signs<WRITES, T>(row, job);
}

template <bool GATHERS, class T>
INLINE void levels_put(const Row& row, const Job& job) {
    if (row.source)
        levels<COPIES, GATHERS, T>(row, job);
    else if (job.action == ADD)
        levels<ADDS, GATHERS, T>(row, job);
    else
        levels<WRITES, GATHERS, T>(row, job);
}

template <class T>
void any_levels(const Row& row, const Job& job, bool gathers) {
    if (gathers)
        levels_put<true, T>(row, job);
    else
        levels_put<false, T>(row, job);
}

template <class T>
void any_along(const Row& row, const Job&) {
    if (row.source)
        along<COPIES, T>(row);
    else
        along<ADDS, T>(row);
}

// Adds the checksums of the stretches from one element to another.
INLINE void check_range(const Row& row, int64_t item, int64_t from, int64_t to) {
    Checksum sum;
    for (int64_t at = from; at < to; at += STRETCH) {
        const int64_t count = to - at < STRETCH ? to - at : STRETCH;
        sum.take(static_cast<const char*>(row.target) + at * item, count * item);
        sum.finish(row, at);
    }
}

void check(const Row& row, int64_t item) { check_range(row, item, 0, row.count); }

// Puts the noise of one filter where its channels lie side by side.
template <Put HOW, class T>
INLINE void across(const T* __restrict noise, T* __restrict target, const T* __restrict source,
                   const Row& row) {
    typedef typename Computed<T>::W W;
    W values[CHUNK];
    for (int64_t place = 0; place < row.places; ++place)
        for (int64_t channel = 0; channel < row.channels; channel += CHUNK) {
            const int64_t left = row.channels - channel, count = left < CHUNK ? left : CHUNK;
            const T* from = noise + channel * row.places + place;
            if constexpr (std::is_same_v<T, half>) {
                T side[CHUNK];
                for (int64_t i = 0; i < count; ++i) side[i] = from[i * row.places];
                widen(side, values, count);
            } else {
                for (int64_t i = 0; i < count; ++i) values[i] = load(from + i * row.places);
            }
            const int64_t at = place * row.channels + channel;
            put<HOW>(values, target + at, source + (HOW == COPIES ? at : 0), count);
        }
}

// Draws the noise of a few whole filters at a time to a buffer, in the order of its addresses.
template <class T>
void any_across(const Row& row, const Job& job, bool gathers) {
    constexpr int64_t grain = 128;  // elements of a block of signs
    const int64_t filter = row.channels * row.places;
    const int64_t tile = filter * (filter < STRETCH ? STRETCH / filter : 1);
    std::vector<T> drawn(size_t(tile + grain));
    Job writes = job;
    writes.action = WRITE;
    Row noise = row;
    noise.target = drawn.data();
    noise.source = nullptr;
    noise.checksum = nullptr;
    int64_t checked = 0;
    for (int64_t at = 0; at < row.count; at += tile) {
        const int64_t end = row.count - at < tile ? row.count : at + tile;
        const int64_t before = (row.begin + at) % grain;
        noise.begin = row.begin + at - before;
        noise.count = end - at + before;
        if (job.table)
            any_levels<T>(noise, writes, gathers);
        else
            any_signs<T>(noise, writes);
        for (int64_t from = at; from < end; from += filter) {
            const T* values = drawn.data() + before + (from - at);
            T* target = static_cast<T*>(row.target) + from;
            if (row.source)
                across<COPIES>(values, target, static_cast<const T*>(row.source) + from, row);
            else if (job.action == ADD)
                across<ADDS, T>(values, target, nullptr, row);
            else
                across<WRITES, T>(values, target, nullptr, row);
        }
        if (row.checksum) {
            const int64_t whole = end < row.count ? end / STRETCH * STRETCH : end;
            check_range(row, sizeof(T), checked, whole);
            checked = whole;
        }
    }
}

template <class T>
constexpr Work WORK = {any_signs<T>, any_levels<T>, any_along<T>, any_across<T>};

constexpr Rows ROWS = {WORK<float>, WORK<double>, WORK<bfloat>, WORK<half>, check};
