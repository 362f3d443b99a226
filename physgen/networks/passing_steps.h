// The steps between two products of matrices in message passing, and their adjoints, on a block.

#pragma once

#include "passing.h"

namespace {

// f(features): as a constant where they fill two vectors, so that a row stays in registers
template <typename T, typename F> inline void by_width(const Plan<T>& p, F f) {
    if (p.width == 2 * LANES<T>) f(std::integral_constant<int64_t, 2 * LANES<T>>());
    else f(p.width);
}

// --- normalisation: n = (x - m) rate over the features of a site; m is their mean, or 0 ----------------------------

template <bool CENTRED, typename T, typename N> inline T normalize(const T* x, T* to, N n, T floor) {
    constexpr int64_t step = LANES<T>;
    Lanes<T> sum{}, squares{};
    if constexpr (CENTRED)
        for (int64_t k = 0; k < n; k += step) sum += get(x + k);
    const T mean = CENTRED ? total<T>(sum) / T(int64_t(n)) : T(0);
    for (int64_t k = 0; k < n; k += step) {
        const Lanes<T> off = get(x + k) - mean;
        squares += off * off;
    }
    const T rate = 1 / std::sqrt(total<T>(squares) / T(int64_t(n)) + floor);
    for (int64_t k = 0; k < n; k += step) put(to + k, (get(x + k) - mean) * rate);
    return rate;
}

// to += slope of x, from the slope of n
template <bool CENTRED, typename T, typename N>
inline void normalize_back(const T* slope, const T* normal, T rate, T* to, N n) {
    constexpr int64_t step = LANES<T>;
    Lanes<T> sum{}, products{};
    for (int64_t k = 0; k < n; k += step) {
        if constexpr (CENTRED) sum += get(slope + k);
        products += get(slope + k) * get(normal + k);
    }
    const T mean = CENTRED ? total<T>(sum) / T(int64_t(n)) : T(0), along = total<T>(products) / T(int64_t(n));
    for (int64_t k = 0; k < n; k += step)
        put(to + k, get(to + k) + rate * (get(slope + k) - mean - along * get(normal + k)));
}

// --- belief propagation ---------------------------------------------------------------------------------------------

// cavity (directions, stride) = tanh(field + sum of incoming - incoming)
template <typename T>
HOT void find_cavity(const Plan<T>& p, const T* field, const T* incoming, T* cavity) {
    const int64_t directions = p.directions, stride = p.stride;
    for (int64_t i = 0; i < stride; i += LANES<T>) {
        Lanes<T> sum = get(incoming + i);
        for (int64_t a = 1; a < directions; a++) sum += get(incoming + a * stride + i);
        sum += get(field + i);
        for (int64_t a = 0; a < directions; a++)
            put(cavity + a * stride + i, hyperbolic_tangent(sum - get(incoming + a * stride + i)));
    }
}

// to[i] = from[neighbour of i in a direction]
template <typename T> inline void fetch(const Plan<T>& p, const T* from, T* to, int64_t direction, int64_t sites) {
    const int32_t* next = p.next_to(direction);
    for (int64_t i = 0; i < sites; i++) to[i] = from[next[i]];
}

template <typename T>
HOT void believe(const Plan<T>& p, int64_t sites, const T* field, const T* incoming, const T* bonds, T* cavity,
                 T* sent, T* to) {
    const int64_t directions = p.directions, stride = p.stride;
    const T damping = T(p.shape.damping), fresh = T(1 - p.shape.damping), certain = T(CERTAIN);
    find_cavity(p, field, incoming, cavity);
    for (int64_t a = 0; a < directions; a++) fetch(p, cavity + (a ^ 1) * stride, sent + a * stride, a, sites);
    for (int64_t i = 0; i < directions * stride; i += LANES<T>) {
        Lanes<T> u = get(bonds + i) * get(sent + i);
        u = u > certain ? Lanes<T>{} + certain : u;
        u = u < -certain ? Lanes<T>{} - certain : u;
        put(to + i, damping * get(incoming + i) + fresh * inverse_tangent(u));
    }
}

// slopes of field and bonds are added to; that of the new messages becomes that of the old ones
template <typename T>
HOT void believe_back(const Plan<T>& p, int64_t sites, const T* field, const T* incoming, const T* bonds, T* cavity,
                      T* sent, T* of_field, T* of_bonds, T* of_incoming) {
    const int64_t directions = p.directions, stride = p.stride;
    const T damping = T(p.shape.damping), fresh = T(1 - p.shape.damping), certain = T(CERTAIN);
    find_cavity(p, field, incoming, cavity);
    for (int64_t a = 0; a < directions; a++) fetch(p, cavity + (a ^ 1) * stride, sent + a * stride, a, sites);
    for (int64_t i = 0; i < directions * stride; i += LANES<T>) {
        const Lanes<T> t = get(bonds + i), u = t * get(sent + i), arrives = get(of_incoming + i);
        Lanes<T> slope = fresh * arrives / (T(1) - u * u);
        slope = u > certain ? Lanes<T>{} : slope;
        slope = u < -certain ? Lanes<T>{} : slope;
        put(of_bonds + i, get(of_bonds + i) + slope * get(sent + i));
        put(sent + i, slope * t);
        put(of_incoming + i, damping * arrives);
    }
    // the cavity of a site towards b went to its neighbour in direction b, which has it from direction b ^ 1
    for (int64_t i = 0; i < directions * stride; i += LANES<T>) {
        const Lanes<T> c = get(cavity + i);
        put(cavity + i, T(1) - c * c);
    }
    for (int64_t b = 0; b < directions; b++) {
        const int32_t* next = p.next_to(b);
        T *to = cavity + b * stride, *from = sent + (b ^ 1) * stride;
        for (int64_t i = 0; i < sites; i++) to[i] *= from[next[i]];
        for (int64_t i = sites; i < stride; i++) to[i] = 0;
    }
    for (int64_t i = 0; i < stride; i += LANES<T>) {
        Lanes<T> sum{};
        for (int64_t b = 0; b < directions; b++) sum += get(cavity + b * stride + i);
        put(of_field + i, get(of_field + i) + sum);
        for (int64_t b = 0; b < directions; b++) {
            T* to = of_incoming + b * stride + i;
            put(to, get(to) + sum - get(cavity + b * stride + i));
        }
    }
}

// --- gated moves between neighbours ---------------------------------------------------------------------------------

// f(lanes of a vector that fit the features of a head, how many features that is)
template <typename T, typename F> inline void by_head(const Plan<T>& p, F f) {
    const int64_t head = p.width / HEADS;
    if (head == 8) f(std::integral_constant<int, 8>(), std::integral_constant<int, 8>());
    else if (head % LANES<T> == 0) f(std::integral_constant<int, LANES<T>>(), head);
    else if (head % 4 == 0) f(std::integral_constant<int, 4>(), head);
    else f(std::integral_constant<int, 1>(), head);
}

// after the source of each site, that of its neighbours times bond and gate
template <int P, typename T, typename N>
HOT void move_heads(const Plan<T>& p, N head, int64_t sites, const T* bonds, const T* gates, T* source) {
    const int64_t width = HEADS * head, joint = p.joint, directions = p.directions, all = p.rows, row = p.gates;
    const int64_t stride = p.stride;
    const int32_t* next = p.next_to(0);
    for (int64_t i = 0; i < sites; i++)
        for (int64_t a = 0; a < directions; a++) {
            const T* from = source + next[a * all + i] * joint;
            T* to = source + i * joint + (a + 1) * width;
#pragma GCC unroll 4
            for (int64_t h = 0; h < HEADS; h++) {
                const T factor = bonds[a * stride + i] * gates[i * row + width + a * HEADS + h];
                for (int64_t k = h * head; k < (h + 1) * head; k += P)
                    put(to + k, factor * take<typename Vector<T, P>::type>(from + k));
            }
        }
}

// The adjoint: slopes of what moved (slope, laid out as source) are added to that of the source they came from and to
// those of bonds; slopes of the gates are set.
template <int P, typename T, typename N>
HOT void move_heads_back(const Plan<T>& p, N head, int64_t sites, const T* bonds, const T* gates, const T* source,
                         T* slope, T* of_bonds, T* of_gates) {
    const int64_t width = HEADS * head, joint = p.joint, directions = p.directions, all = p.rows, row = p.gates;
    const int64_t stride = p.stride;
    const int32_t* next = p.next_to(0);
    using V = typename Vector<T, P>::type;
    for (int64_t i = 0; i < sites; i++)
        for (int64_t a = 0; a < directions; a++) {
            const T *from = source + next[a * all + i] * joint, *arrives = slope + i * joint + (a + 1) * width;
            T *to = slope + next[a * all + i] * joint, of_bond = 0;
            const T bond = bonds[a * stride + i];
#pragma GCC unroll 4
            for (int64_t h = 0; h < HEADS; h++) {
                const int64_t gate = i * row + width + a * HEADS + h;
                const T factor = bond * gates[gate];
                V products{};
                for (int64_t k = h * head; k < (h + 1) * head; k += P) {
                    const V v = take<V>(arrives + k);
                    products += v * take<V>(from + k);
                    put(to + k, take<V>(to + k) + factor * v);
                }
                const T along = total<T>(products);
                of_gates[gate] = bond * along;
                of_bond += gates[gate] * along;
            }
            of_bonds[a * stride + i] += of_bond;
        }
}

// after the row of each site, those of its neighbours
template <typename T, typename N> HOT void move_rows(const Plan<T>& p, N width, int64_t sites, T* rows) {
    const int64_t joint = p.joint, directions = p.directions, all = p.rows;
    const int32_t* next = p.next_to(0);
    for (int64_t i = 0; i < sites; i++)
        for (int64_t a = 0; a < directions; a++) {
            const T* from = rows + next[a * all + i] * joint;
            T* to = rows + i * joint + (a + 1) * width;
            for (int64_t k = 0; k < width; k += LANES<T>) put(to + k, get(from + k));
        }
}

template <typename T, typename N> HOT void move_rows_back(const Plan<T>& p, N width, int64_t sites, const T* slope, T* to) {
    const int64_t joint = p.joint, directions = p.directions, all = p.rows;
    const int32_t* next = p.next_to(0);
    for (int64_t i = 0; i < sites; i++)
        for (int64_t k = 0; k < width; k += LANES<T>) {
            Lanes<T> sum = get(slope + i * joint + k);
            for (int64_t a = 0; a < directions; a++)  // to the neighbour in direction a went what it has from a ^ 1
                sum += get(slope + next[a * all + i] * joint + ((a ^ 1) + 1) * width + k);
            put(to + i * width + k, sum);
        }
}

// --- gates of features ----------------------------------------------------------------------------------------------

// squashed products (sites, 2 width): source times message, message times itself
template <typename T, typename N> HOT void square(const Plan<T>& p, N width, int64_t sites, const T* source, const T* message, T* to) {
    const int64_t joint = p.joint;
    for (int64_t i = 0; i < sites; i++)
        for (int64_t k = 0; k < width; k += LANES<T>) {
            const Lanes<T> m = get(message + i * width + k);
            put(to + i * 2 * width + k, squash(get(source + i * joint + k) * m));
            put(to + (2 * i + 1) * width + k, squash(m * m));
        }
}

// slope: of the squashed products; the slope of the source is set (rows of joint), that of the message is added to
template <typename T, typename N>
HOT void square_back(const Plan<T>& p, N width, int64_t sites, const T* source, const T* message, const T* products,
                     const T* slope, T* of_source, T* of_message) {
    const int64_t joint = p.joint;
    for (int64_t i = 0; i < sites; i++)
        for (int64_t k = 0; k < width; k += LANES<T>) {
            const Lanes<T> one = T(1) - size_of(get(products + i * 2 * width + k));  // 1/(1 + |x|) = 1 - |y|
            const Lanes<T> two = T(1) - size_of(get(products + (2 * i + 1) * width + k));
            const Lanes<T> first = get(slope + i * 2 * width + k) * one * one;
            const Lanes<T> second = get(slope + (2 * i + 1) * width + k) * two * two;
            const Lanes<T> m = get(message + i * width + k);
            T* to = of_message + i * width + k;
            put(of_source + i * width + k, first * m);
            put(to, get(to) + first * get(source + i * joint + k) + T(2) * second * m);
        }
}

// gate = sigmoid(gate), to = x gate
template <typename T> HOT void open_gate(const T* x, T* gate, T* to, int64_t n) {
    for (int64_t k = 0; k < n; k += LANES<T>) {
        const Lanes<T> g = sigmoid(get(gate + k));
        put(gate + k, g);
        put(to + k, get(x + k) * g);
    }
}

// slope: of x gate, becomes that of the gate before its sigmoid; that of x is set
template <typename T> HOT void open_gate_back(const T* x, const T* gate, T* slope, T* of_x, int64_t n) {
    for (int64_t k = 0; k < n; k += LANES<T>) {
        const Lanes<T> g = get(gate + k), arrives = get(slope + k);
        put(of_x + k, arrives * g);
        put(slope + k, arrives * get(x + k) * g * (T(1) - g));
    }
}

template <typename T> HOT void silu(const T* x, T* to, int64_t n) {
    for (int64_t k = 0; k < n; k += LANES<T>) put(to + k, get(x + k) * sigmoid(get(x + k)));
}

// to = SiLU(x), slope becomes that of x
template <typename T> HOT void silu_back(const T* x, T* to, T* slope, int64_t n) {
    for (int64_t k = 0; k < n; k += LANES<T>) {
        const Lanes<T> v = get(x + k), g = sigmoid(v);
        put(to + k, v * g);
        put(slope + k, get(slope + k) * g * (T(1) + v * (T(1) - g)));
    }
}

template <typename T> inline T dot(const T* x, const T* y, int64_t n) {
    Lanes<T> sum{};
    for (int64_t k = 0; k < n; k += LANES<T>) sum += get(x + k) * get(y + k);
    return total<T>(sum);
}

template <typename T> HOT void fill_rows(T* to, const T* row, const T* other, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < columns; k += LANES<T>)
            put(to + i * columns + k, other ? get(row + k) + get(other + k) : get(row + k));
}

}  // namespace
