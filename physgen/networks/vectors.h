// Vectors of a processor's registers, functions of them, and products of matrices whose factors lie in the cache.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "numbers.h"

namespace {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, TILE = 8;  // rows of a product that are summed in registers at once
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32, TILE = 4;
#else
constexpr int VECTOR_BYTES = 16, TILE = 4;
#endif

template <typename T> constexpr int LANES = VECTOR_BYTES / int(sizeof(T));
template <typename T> using Lanes = typename Vector<T, LANES<T>>::type;

template <typename V, typename T> inline V take(const T* from) { V v; std::memcpy(&v, from, sizeof v); return v; }
template <typename V, typename T> inline void put(T* to, V v) { std::memcpy(to, &v, sizeof v); }
template <typename T> inline Lanes<T> get(const T* from) { return take<Lanes<T>>(from); }
template <typename T> inline int64_t padded(int64_t n) { return (n + LANES<T> - 1) / LANES<T> * LANES<T>; }

// halves first: a chain of additions would take as long as the sums of many
template <typename T, typename V> inline T total(V v) {
    constexpr int n = sizeof(V) / sizeof(T);
    if constexpr (n == 1) return v[0];
    else if constexpr (n == 2) return v[0] + v[1];
    else {
        typename Vector<T, n / 2>::type low, high;
        std::memcpy(&low, &v, sizeof low);
        std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
        return total<T>(low + high);
    }
}

using Floats = Lanes<float>;
using Integers = Lanes<int32_t>;
inline Integers bits_of(Floats v) { Integers i; std::memcpy(&i, &v, sizeof i); return i; }
inline Floats of_bits(Integers i) { Floats v; std::memcpy(&v, &i, sizeof v); return v; }
inline Floats size_of(Floats v) { return of_bits(bits_of(v) & 0x7fffffff); }
inline Floats signed_as(Floats size, Floats v) { return of_bits(bits_of(size) | (bits_of(v) & int32_t(0x80000000u))); }

// not a number stays one
inline Floats exponential(Floats x) {
    x = x > 80.0f ? Floats{} + 80.0f : x;
    return exponential_within<Integers>(x < -80.0f ? Floats{} - 80.0f : x);
}

// Polynomials of tanh, ln and atanh: S. Moshier, Cephes mathematical library, single precision; errors of one or two
// units in the last place.
inline Floats hyperbolic_tangent(Floats x) {
    const Floats size = size_of(x), z = x * x;
    Floats p = z * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    const Floats large = 1.0f - 2.0f / (exponential(size + size) + 1.0f);
    return size > 0.625f ? signed_as(large, x) : p * z * x + x;
}

inline Floats logarithm(Floats x) {  // of a normal number
    Integers exponent = ((bits_of(x) >> 23) & 0xff) - 126;
    Floats mantissa = of_bits((bits_of(x) & 0x007fffff) | 0x3f000000);  // in [1/2, 1)
    const Integers low = mantissa < 0.707106781f;
    exponent += low;  // a comparison that holds is -1
    mantissa = (low ? mantissa + mantissa : mantissa) - 1.0f;
    const Floats z = mantissa * mantissa, e = __builtin_convertvector(exponent, Floats);
    Floats p = mantissa * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * mantissa + 1.1676998740e-1f;
    p = p * mantissa - 1.2420140846e-1f;
    p = p * mantissa + 1.4249322787e-1f;
    p = p * mantissa - 1.6668057665e-1f;
    p = p * mantissa + 2.0000714765e-1f;
    p = p * mantissa - 2.4999993993e-1f;
    p = p * mantissa + 3.3333331174e-1f;
    return mantissa + (p * mantissa * z - e * 2.12194440e-4f - 0.5f * z) + e * 0.693359375f;
}

inline Floats inverse_tangent(Floats x) {  // hyperbolic, |x| < 1
    const Floats size = size_of(x), z = x * x;
    Floats p = z * 1.81740078349e-1f + 8.24370301058e-2f;
    p = p * z + 1.46691431730e-1f;
    p = p * z + 1.99782164500e-1f;
    p = p * z + 3.33337300303e-1f;
    const Floats large = 0.5f * logarithm((1.0f + size) / (1.0f - size));
    return size > 0.5f ? signed_as(large, x) : p * z * x + x;
}

using Doubles = Lanes<double>;
template <typename F> inline Doubles each(Doubles x, F f) {
    for (int i = 0; i < LANES<double>; i++) x[i] = f(x[i]);
    return x;
}
inline Doubles exponential(Doubles x) { return each(x, [](double v) { return std::exp(v); }); }
inline Doubles hyperbolic_tangent(Doubles x) { return each(x, [](double v) { return std::tanh(v); }); }
inline Doubles inverse_tangent(Doubles x) { return each(x, [](double v) { return std::atanh(v); }); }
inline Doubles size_of(Doubles x) { return each(x, [](double v) { return std::fabs(v); }); }

// a scalar beside a vector has its type: not every compiler converts an integer
template <typename V> using Scalar = std::decay_t<decltype(std::declval<V&>()[0])>;
template <typename V> inline V sigmoid(V x) { return Scalar<V>(1) / (Scalar<V>(1) + exponential(-x)); }
template <typename V> inline V squash(V x) { return x / (Scalar<V>(1) + size_of(x)); }

// --- products -------------------------------------------------------------------------------------------------------

template <typename T> struct Matrix { const T* at; int64_t row, column; };  // strides
template <typename T> struct Rows { const T* at; int64_t row; };

template <int ROWS, int COLUMNS, bool ADD, typename T>
inline void multiply_tile(const Matrix<T>& a, const Rows<T>& b, T* c, int64_t depth, int64_t columns) {
    using V = Lanes<T>;
    V sum[ROWS][COLUMNS];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
        for (int j = 0; j < COLUMNS; j++) sum[i][j] = ADD ? get(c + i * columns + j * LANES<T>) : V{};
    for (int64_t k = 0; k < depth; k++) {
        V row[COLUMNS];
#pragma GCC unroll 2
        for (int j = 0; j < COLUMNS; j++) row[j] = get(b.at + k * b.row + j * LANES<T>);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
            for (int j = 0; j < COLUMNS; j++) sum[i][j] += a.at[i * a.row + k * a.column] * row[j];
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
        for (int j = 0; j < COLUMNS; j++) put(c + i * columns + j * LANES<T>, sum[i][j]);
}

template <int ROWS, int COLUMNS, bool ADD, typename T>
inline void multiply_rows(Matrix<T> a, Rows<T> b, T* c, int64_t rows, int64_t depth, int64_t columns) {
    int64_t i = 0;
    for (; i + ROWS <= rows; i += ROWS)
        multiply_tile<ROWS, COLUMNS, ADD>({a.at + i * a.row, a.row, a.column}, b, c + i * columns, depth, columns);
    if constexpr (ROWS > 1)
        if (i < rows)
            multiply_rows<ROWS / 2, COLUMNS, ADD>({a.at + i * a.row, a.row, a.column}, b, c + i * columns, rows - i,
                                                  depth, columns);
}

// c = a b, or c += a b: a (rows, depth) and b (depth, columns) of any strides, c (rows, columns) without gaps, columns
// a multiple of LANES. Each value is a sum over the depth in order, whatever the rows beside it.
template <bool ADD, typename T>
HOT void multiply(Matrix<T> a, Rows<T> b, T* c, int64_t rows, int64_t depth, int64_t columns) {
    int64_t j = 0;
    for (; j + 2 * LANES<T> <= columns; j += 2 * LANES<T>)
        multiply_rows<TILE, 2, ADD>(a, {b.at + j, b.row}, c + j, rows, depth, columns);
    for (; j < columns; j += LANES<T>) multiply_rows<TILE, 1, ADD>(a, {b.at + j, b.row}, c + j, rows, depth, columns);
}

// to[j] += the sum of column j
template <typename T> HOT void add_rows(const T* x, int64_t stride, T* to, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) to[j] += x[i * stride + j];
}

}  // namespace
