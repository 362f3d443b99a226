// The number types of physgen's kernels, and how their loops run over channels.

#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace {

constexpr int64_t GROUP = 8;  // channels that are normalised together (layers.py): every field has a multiple of these

constexpr int COLUMNS = 32;   // values of a row that a loop keeps sums of in registers

using bf16 = uint16_t;

template <typename T> struct Working { using type = T; };
template <> struct Working<bf16> { using type = float; };

inline float load(bf16 v) { uint32_t u = uint32_t(v) << 16; float f; std::memcpy(&f, &u, 4); return f; }
inline float load(float v) { return v; }
inline double load(double v) { return v; }
inline void store(float* to, float v) { *to = v; }
inline void store(double* to, double v) { *to = v; }
inline void store(bf16* to, float v) {  // to nearest even; not a number stays one
    uint32_t u; std::memcpy(&u, &v, 4);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    *to = uint16_t(v == v ? rounded : 0x7fc0u);
}

// The same for a v that is a number, or not a number that came from bf16, from arithmetic or from constant(): the addition
// does not carry into the sign of these, and a sixth of a loop is saved.
template <typename T, typename A> inline void store_known(T* to, A v) { *to = v; }
inline void store_known(bf16* to, float v) {
    uint32_t u; std::memcpy(&u, &v, 4);
    *to = uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

template <typename A> inline A constant(double v) { return v == v ? A(v) : std::numeric_limits<A>::quiet_NaN(); }

// The loops that cost: n values in a row, constants that repeat after p values.
// Kept out of line: inlined into a parallel region gcc 12 does not vectorise them.
#define HOT __attribute__((noinline))

// f(P, first column) for the columns of rows of p values, P at a time: with a constant number of them sums stay in
// registers, where a loop over p would write and read them at every row
template <typename F> inline void by_columns(int64_t p, F f) {
    if (p % COLUMNS == 0)
        for (int64_t k = 0; k < p; k += COLUMNS) f(std::integral_constant<int, COLUMNS>(), k);
    else if (p % 16 == 0)
        for (int64_t k = 0; k < p; k += 16) f(std::integral_constant<int, 16>(), k);
    else
        for (int64_t k = 0; k < p; k += GROUP) f(std::integral_constant<int, GROUP>(), k);
}

// exp(x) = 2^n exp(r), |r| <= ln2/2, to 2e-7 of it, for |x| <= 80; of a number or of a vector, with integers I like it
template <typename I, typename V> inline V exponential_within(V x) {
    const V shifted = x * 1.44269504f + 12582912.0f;  // rounds to an integer in the low bits
    const V whole = shifted - 12582912.0f;
    const V r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    V p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    I bits, power;
    std::memcpy(&bits, &p, sizeof p);
    std::memcpy(&power, &shifted, sizeof p);
    bits += power << 23;
    std::memcpy(&p, &bits, sizeof p);
    return p;
}

// P values in a row as one vector, in the precision that they are computed in: no more than a register of this processor
// holds, since compilers take larger ones apart through memory
#if defined(__AVX512F__)
constexpr int REGISTER = 64;
#elif defined(__AVX__)
constexpr int REGISTER = 32;
#else
constexpr int REGISTER = 16;
#endif
template <typename A, int P> struct Vector { typedef A type __attribute__((vector_size(P * sizeof(A)))); };
template <int P, typename A> using vector = typename Vector<A, P>::type;

// f(P): channels at a time, of a number of them that is a multiple of 8
template <typename A, typename F> inline void by_registers(int64_t channels, F f) {
    constexpr int lanes = REGISTER / sizeof(A), fewer = lanes < GROUP ? lanes : GROUP;
    if (channels % lanes == 0) f(std::integral_constant<int, lanes>());
    else f(std::integral_constant<int, fewer>());
}

template <int P, typename A> inline vector<P, A> load_row(const A* from) {
    vector<P, A> v; std::memcpy(&v, from, sizeof(v)); return v;
}
template <int P> inline vector<P, float> load_row(const bf16* from) {
    vector<P, bf16> half; std::memcpy(&half, from, sizeof(half));
    const vector<P, uint32_t> u = __builtin_convertvector(half, vector<P, uint32_t>) << 16;
    vector<P, float> v; std::memcpy(&v, &u, sizeof(v)); return v;
}
template <int P, typename A> inline void store_row(A* to, const vector<P, A>& v) { std::memcpy(to, &v, sizeof(v)); }
template <int P> inline void store_row(bf16* to, const vector<P, float>& v) {
    vector<P, uint32_t> u; std::memcpy(&u, &v, sizeof(v));
    const vector<P, uint32_t> rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const vector<P, uint32_t> kept = v == v ? rounded : vector<P, uint32_t>{} + 0x7fc0u;
    const vector<P, bf16> half = __builtin_convertvector(kept, vector<P, bf16>);
    std::memcpy(to, &half, sizeof(half));
}

}  // namespace
