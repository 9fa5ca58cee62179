/* The way of a plain event, from the arguments of a log call to the queue or the file. */
#ifndef PYLOG_LANE_H
#define PYLOG_LANE_H

#include "encode.h"

/* The counters of a RecordBuffer that its entrance needs; a Python class adds the rest. */
typedef struct {
    PyObject_HEAD
    Py_ssize_t size, bytes, limit, byte_limit, wake_size, wake_bytes;
} Gate;

/* What Python gives a lane, by the names of its keyword arguments. */
#define OBJECTS(X) \
    X(read) X(last) X(steady) X(overdue) X(fixed) X(head_of) X(start_of) X(names_of) X(leaf) \
    X(thread_of) X(variables) X(around_of) X(place_of) X(adders) X(straight) X(gate) X(append) X(handle) \
    X(ring) X(put) X(not_delivered) X(record) X(dumps) X(nothing)

enum {
#define NUMBER(name) LANE_##name,
    OBJECTS(NUMBER)
#undef NUMBER
    LANE_COUNT
};

#define CALLS 128    /* call sites whose keywords are remembered */
#define AROUNDS 64   /* sets of values of context variables */
#define AROUND_MAX 16
#define PLACES 256   /* lines of code */

/* The keywords of a call site, by the identity of their tuple, which is a constant of its code; and
 * the keys of bound values and context variables that were found last to share none with them. */
typedef struct {
    PyObject *names, *keys, *kinds, *taken, *outer;
} Call;

/* Bits of `kinds`, a byte for each keyword: which types of values may stand there. */
enum { KIND_STR = 1, KIND_INT = 2, KIND_FLOAT = 4, KIND_BOOL = 8, KIND_NONE = 16, KIND_ARRAY = 32 };
enum { ARRAY_MAX = 64 };

/* A context variable and its `get`. */
typedef struct {
    PyObject *variable, *get;
} Getter;

typedef struct {
    Py_ssize_t count;
    PyObject *values[AROUND_MAX];
    PyObject *shown; /* (bytes, frozenset of keys) */
} Around;

typedef struct {
    PyObject *code, *shown;
    int line;
} Place;

typedef struct {
    PyObject_HEAD
    char active; /* events may take it */
    int levels;
    Py_ssize_t nodes_max, items_max, longest;
    long long second; /* the one that `head` is of, in nanoseconds */
    size_t head_length;
    char head[64];
    PyObject *objects[LANE_COUNT];
    Call calls[CALLS];
    Getter getters[AROUND_MAX];
    Around arounds[AROUNDS];
    Place places[PLACES];
} Lane;

#define OF(lane, name) ((lane)->objects[LANE_##name])

extern PyTypeObject *gate_type, *lane_type;
extern PyMethodDef log_methods[];

/* Names and numbers that are made once. */
enum { LEVELS = 5 };
extern PyObject *str_logger, *str_level, *str_lane, *str_prepare, *str_slow, *str_get, *str_isdisjoint;
extern PyObject *level_numbers[LEVELS], *level_names[LEVELS];
extern const long LEVEL_VALUES[LEVELS];

/* Makes what all lanes share; 0, or -1 with an exception. */
int lane_prepare(void);

/* Puts a new reference to *value* in place of what is there. */
void replace(PyObject **where, PyObject *value);

/* Forgets one set of values of context variables. */
void around_forget(Around *around);

/* The time of the call, a new reference and the number; what TimestampSource.__call__ does.  0, or -1. */
int read_clock(Lane *lane, PyObject **moment, long long *nanoseconds);

/* The line of an event, a new reference; NULL, with or without an exception, if it has to go step by step.
 * mine: (lane, starts by level, members of the bound values, their keys). */
PyObject *render(Lane *lane, PyObject *mine, int level, PyObject *event, PyObject *const *values,
                 PyObject *names, long long moment);

#endif
