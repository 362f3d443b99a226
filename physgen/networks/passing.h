// Message passing on a periodic lattice, a few samples at a time: sizes, parameters, what is kept for the gradient.
// The equations and the meaning of the letters are those of message_passing.py; fields are features last, (sites,
// features), what has one value for a site and a direction is (directions, sites).

#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "vectors.h"

namespace {

constexpr int64_t HEADS = 4;           // gates of each bond
constexpr double CERTAIN = 1 - 1e-6;   // keeps the inverse of tanh finite in float
constexpr double EPSILON = 1e-5;       // added to a variance
constexpr int64_t BLOCK_SITES = 64;    // samples are taken together up to these: smaller products leave registers empty
constexpr int64_t CHUNKS = 16;         // parts of a batch whose slopes of the parameters are summed on their own

struct Shape {  // passing.py has the same
    int64_t batch, dimension, sizes[3], width, layers, iterations, inputs, threads;
    double damping;
};

template <typename T> struct Inputs {  // passing.py has the same
    const T *odd, *even;        // (2, B, sites), (inputs, B, sites)
    const T *field, *bonds;     // (B, sites), (directions, B, sites)
    const T *modulation;        // (B, layers, 2, width): gain, bias
    const T *scale, *weights;   // (B,), all parameters in the order of Weights
};

template <typename T> struct Slopes {  // passing.py has the same; of_odd and of_weights may be null, with of_even
    T *odd, *even, *field, *bonds, *modulation, *scale, *weights;
};

template <typename T> struct Aligned {  // 64 bytes: a vector that lies in two cache lines costs twice
    struct Free { void operator()(T* p) const { std::free(p); } };
    std::unique_ptr<T[], Free> memory;
    explicit Aligned(int64_t n)
        : memory(static_cast<T*>(std::aligned_alloc(64, (n * sizeof(T) + 64) / 64 * 64))) {
        if (!memory) throw std::bad_alloc();
        std::fill(memory.get(), memory.get() + n, T(0));
    }
    operator T*() const { return memory.get(); }
};

// Where each parameter of a layer, then of the whole, begins in the flat array: kind by kind, over layers within one.
struct Weights {
    enum Kind {
        READ, GATE, MESSAGE, EVEN_MESSAGE, EVEN_MESSAGE_BIAS, INVARIANT, INVARIANT_BIAS, EVEN_OUT, EVEN_OUT_BIAS,
        OUT_GATE, OUT_GATE_BIAS, ODD_OUT, GAIN, PULL, ODD_IN, EVEN_IN, EVEN_IN_BIAS, END_GATE, END_GATE_BIAS, HEAD,
        GATE_BIAS, GAIN_BIAS, KINDS
    };
    int64_t begin[KINDS], size[KINDS], total = 0;

    explicit Weights(const Shape& s) {
        const int64_t f = s.width, d = 2 * s.dimension, gates = f + d * HEADS, square = f * f, joint = (d + 1) * square;
        const int64_t sizes[KINDS] = {(d + 1) * f, gates * f, joint, joint, f, 2 * square, f, square, f, square, f,
                                      square, d * f, f, 2 * f, s.inputs * f, f, square, f, f, gates, d};
        for (int kind = 0; kind < KINDS; kind++) {
            begin[kind] = total;
            size[kind] = sizes[kind];
            total += sizes[kind] * (kind >= ODD_IN && kind <= HEAD ? 1 : s.layers);
        }
    }
    int64_t at(Kind kind, int64_t layer = 0) const { return begin[kind] + layer * size[kind]; }
};

template <typename T> struct Plan {
    Shape shape;
    Weights weights;
    int64_t width, directions, sites = 1, bond_gates, gates, joint;  // of a row: gates with a gap at their end
    int64_t group, rows, stride, blocks;  // samples and sites of a block, sites with a gap, blocks
    std::vector<int32_t> neighbours;      // (directions, rows), in the block

    explicit Plan(const Shape& s) : shape(s), weights(s), width(s.width), directions(2 * s.dimension) {
        for (int64_t axis = 0; axis < s.dimension; axis++) sites *= s.sizes[axis];
        bond_gates = directions * HEADS;
        gates = width + padded<T>(bond_gates);
        joint = (directions + 1) * width;
        group = std::max<int64_t>(1, BLOCK_SITES / sites);
        rows = group * sites;
        stride = padded<T>(rows);
        blocks = (s.batch + group - 1) / group;
        for (int64_t a = 0; a < directions; a++)
            for (int64_t i = 0; i < rows; i++) neighbours.push_back(int32_t(neighbour(i, a)));
    }
    int64_t neighbour(int64_t i, int64_t direction) const {
        int64_t step = 1;
        const int64_t axis = direction / 2, size = shape.sizes[axis];
        for (int64_t later = axis + 1; later < shape.dimension; later++) step *= shape.sizes[later];
        const int64_t here = i / step % size, there = (here + (direction % 2 ? size - 1 : 1)) % size;
        return i + (there - here) * step;
    }
    const int32_t* next_to(int64_t direction) const { return neighbours.data() + direction * rows; }
    int64_t few() const { return std::max(padded<T>(directions + 1), padded<T>(shape.inputs)); }  // columns
};

// A block: its first sample and how many, its first site in the batch and how many.
struct Block {
    int64_t sample, samples, site, sites;
    template <typename T> static Block of(const Plan<T>& p, int64_t number) {
        const int64_t sample = number * p.group, samples = std::min(p.group, p.shape.batch - sample);
        return {sample, samples, sample * p.sites, samples * p.sites};
    }
};

// What the gradient of a layer needs of the way forward and what would take long to find again: to write and read it
// costs as much as a tenth of the products. The one after the last layer holds what leaves the network: even, open,
// field and messages.
template <typename T> struct Kept {
    T *even, *open, *field, *incoming, *gain;  // incoming: (iterations + 1, directions, stride)
    T *message, *seen, *sent;                  // sent: odd for the next layer

    Kept(const Plan<T>& p, T* at) {
        const int64_t fields = p.rows * p.width, messages = p.directions * p.stride;
        const auto next = [&](int64_t n) { T* here = at; at += n; return here; };
        even = next(fields), open = next(fields), field = next(p.stride);
        incoming = next((p.shape.iterations + 1) * messages), gain = next(messages);
        message = next(fields), seen = next(fields), sent = next(fields);
    }
    static int64_t end_size(const Plan<T>& p) { return p.rows * 2 * p.width + (1 + p.directions) * p.stride; }
    static int64_t size(const Plan<T>& p) {
        return p.rows * 5 * p.width + (1 + p.directions * (p.shape.iterations + 2)) * p.stride;
    }
    // of all layers of a block
    static int64_t block_size(const Plan<T>& p) { return p.shape.layers * size(p) + end_size(p); }
};

}  // namespace
