#include "lane.h"

#include <string.h>
#include <structmember.h>

/* -- the gate --------------------------------------------------------------------------------- */

static PyMemberDef gate_members[] = {
    {"size", T_PYSSIZET, offsetof(Gate, size), 0, "Records in the queue and in the worker's hands."},
    {"bytes", T_PYSSIZET, offsetof(Gate, bytes), 0, "Bytes of their lines."},
    {"limit", T_PYSSIZET, offsetof(Gate, limit), 0, "Records from which an entrant has to ask."},
    {"byte_limit", T_PYSSIZET, offsetof(Gate, byte_limit), 0, "The same in bytes."},
    {"wake_size", T_PYSSIZET, offsetof(Gate, wake_size), 0, "Records that wake the worker."},
    {"wake_bytes", T_PYSSIZET, offsetof(Gate, wake_bytes), 0, "The same in bytes."},
    {NULL},
};

static void
gate_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyType_Slot gate_slots[] = {
    {Py_tp_doc, "What the entrance of a queue looks at and moves, as plain integers."},
    {Py_tp_members, gate_members},
    {Py_tp_dealloc, gate_dealloc},
    {0, NULL},
};

PyType_Spec gate_spec = {
    "pylog_struct._speed.Gate", sizeof(Gate), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, gate_slots,
};

/* -- the lane --------------------------------------------------------------------------------- */

/* What Python gives a lane, by the names of its keyword arguments. */
#define OBJECTS(X) \
    X(read) X(last) X(steady) X(overdue) X(fixed) X(head_of) X(start_of) X(names_of) X(leaf) \
    X(variables) X(around_of) X(place_of) X(adders) X(straight) X(gate) X(append) X(handle) \
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
    PyObject *names, *keys, *taken, *outer;
} Call;

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

PyTypeObject *lane_type;
static PyObject *str_logger, *str_level, *str_lane, *str_prepare, *str_slow, *str_get,
    *str_isdisjoint;
static PyObject *level_numbers[5], *level_names[5];
static const long LEVELS[5] = {10, 20, 30, 40, 50};
static const char *const LEVEL_NAMES[5] = {"debug", "info", "warning", "error", "critical"};

int
lane_prepare(void)
{
    struct { PyObject **where; const char *text; } texts[] = {
        {&str_logger, "_logger"}, {&str_level, "level"}, {&str_lane, "_lane"},
        {&str_prepare, "_prepare"}, {&str_slow, "_slow"}, {&str_get, "get"},
        {&str_isdisjoint, "isdisjoint"},
    };
    if (lane_type != NULL) {
        return 0;
    }
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        if ((*texts[index].where = PyUnicode_InternFromString(texts[index].text)) == NULL) {
            return -1;
        }
    }
    for (int index = 0; index < 5; index++) {
        level_numbers[index] = PyLong_FromLong(LEVELS[index]);
        level_names[index] = PyUnicode_InternFromString(LEVEL_NAMES[index]);
        if (level_numbers[index] == NULL || level_names[index] == NULL) {
            return -1;
        }
    }
    lane_type = (PyTypeObject *)PyType_FromSpec(&lane_spec);
    return lane_type == NULL ? -1 : 0;
}

static PyObject *
lane_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static const char *const names[] = {
#define NAME(name) #name,
        OBJECTS(NAME)
#undef NAME
    };
    if (PyTuple_Size(args) != 4 || keywords == NULL || PyDict_Size(keywords) != LANE_COUNT) {
        PyErr_SetString(PyExc_TypeError, "Lane(levels, nodes, items, longest, *, ...)");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Lane *lane = (Lane *)allocate(type, 0);
    if (lane == NULL) {
        return NULL;
    }
    lane->levels = (int)PyLong_AsLong(PyTuple_GetItem(args, 0));
    lane->nodes_max = PyLong_AsSsize_t(PyTuple_GetItem(args, 1));
    lane->items_max = PyLong_AsSsize_t(PyTuple_GetItem(args, 2));
    lane->longest = PyLong_AsSsize_t(PyTuple_GetItem(args, 3));
    lane->second = -1;
    for (int index = 0; index < LANE_COUNT && !PyErr_Occurred(); index++) {
        PyObject *value = PyDict_GetItemString(keywords, names[index]);
        if (value == NULL) {
            PyErr_SetString(PyExc_TypeError, names[index]);
            break;
        }
        Py_INCREF(value);
        lane->objects[index] = value;
    }
    if (PyErr_Occurred()) {
        Py_DECREF(lane);
        return NULL;
    }
    return (PyObject *)lane;
}

static int
lane_traverse(PyObject *self, visitproc visit, void *arg)
{
    Lane *lane = (Lane *)self;
    Py_VISIT(Py_TYPE(self));
    for (int index = 0; index < LANE_COUNT; index++) {
        Py_VISIT(lane->objects[index]);
    }
    /* What the caches hold is text, numbers and code: none of it leads back here. */
    return 0;
}

static void
around_forget(Around *around)
{
    for (Py_ssize_t index = 0; index < around->count; index++) {
        Py_CLEAR(around->values[index]);
    }
    around->count = 0;
    Py_CLEAR(around->shown);
}

static int
lane_clear(PyObject *self)
{
    Lane *lane = (Lane *)self;
    lane->active = 0;
    for (int index = 0; index < LANE_COUNT; index++) {
        Py_CLEAR(lane->objects[index]);
    }
    for (int index = 0; index < CALLS; index++) {
        Py_CLEAR(lane->calls[index].names);
        Py_CLEAR(lane->calls[index].keys);
        Py_CLEAR(lane->calls[index].taken);
        Py_CLEAR(lane->calls[index].outer);
    }
    for (int index = 0; index < AROUND_MAX; index++) {
        Py_CLEAR(lane->getters[index].variable);
        Py_CLEAR(lane->getters[index].get);
    }
    for (int index = 0; index < AROUNDS; index++) {
        around_forget(&lane->arounds[index]);
    }
    for (int index = 0; index < PLACES; index++) {
        Py_CLEAR(lane->places[index].code);
        Py_CLEAR(lane->places[index].shown);
    }
    return 0;
}

static void
lane_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    lane_clear(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMemberDef lane_members[] = {
    {"active", T_BOOL, offsetof(Lane, active), 0, "Whether events may take it."},
    {NULL},
};

static PyType_Slot lane_slots[] = {
    {Py_tp_doc, "What the plain events of one pipeline need."},
    {Py_tp_new, lane_new},
    {Py_tp_members, lane_members},
    {Py_tp_traverse, lane_traverse},
    {Py_tp_clear, lane_clear},
    {Py_tp_dealloc, lane_dealloc},
    {0, NULL},
};

PyType_Spec lane_spec = {
    "pylog_struct._speed.Lane", sizeof(Lane), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, lane_slots,
};

/* -- the parts of a line ---------------------------------------------------------------------- */

/* All of these return 0, or -1 with or without an exception: the event goes step by step then. */

static void
replace(PyObject **where, PyObject *value)
{
    PyObject *before = *where;
    Py_INCREF(value);
    *where = value;
    Py_XDECREF(before);
}

/* The time of the call: what TimestampSource.__call__ does. */
static int
read_clock(Lane *lane, PyObject **moment, long long *nanoseconds)
{
    PyObject *now = PyObject_CallFunctionObjArgs(OF(lane, read), NULL);
    if (now == NULL) {
        return -1;
    }
    *nanoseconds = PyLong_AsLongLong(now);
    PyObject *latest = PyList_GetItem(OF(lane, last), 0);
    long long before = latest == NULL ? -1 : PyLong_AsLongLong(latest);
    if (PyErr_Occurred()) {
        Py_DECREF(now);
        return -1;
    }
    if (*nanoseconds < before) {
        PyObject *held = PyObject_CallFunctionObjArgs(OF(lane, steady), now, NULL);
        Py_DECREF(now);
        if (held == NULL) {
            return -1;
        }
        *nanoseconds = PyLong_AsLongLong(held);
        *moment = held;
        return *nanoseconds == -1 && PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(now);
    *moment = now;
    return PyList_SetItem(OF(lane, last), 0, now);
}

static int
add_head(Lane *lane, Text *text, long long moment)
{
    long long rest = moment - lane->second;
    if (lane->second < 0 || rest < 0 || rest >= 1000000000) {
        if (moment < 0) {
            return -1;
        }
        char *data;
        Py_ssize_t length;
        long long second = moment - moment % 1000000000;
        PyObject *number = PyLong_FromLongLong(second);
        PyObject *head =
            number == NULL ? NULL : PyObject_CallFunctionObjArgs(OF(lane, head_of), number, NULL);
        Py_XDECREF(number);
        if (head == NULL) {
            return -1;
        }
        if (PyBytes_AsStringAndSize(head, &data, &length) < 0 || length > (Py_ssize_t)sizeof(lane->head)) {
            Py_DECREF(head);
            return -1;
        }
        /* Another thread may have been here during the call: both wrote what is true for them. */
        memcpy(lane->head, data, (size_t)length);
        lane->head_length = (size_t)length;
        lane->second = second;
        rest = moment - second;
        Py_DECREF(head);
    }
    if (text_add(text, lane->head, lane->head_length) < 0) {
        return -1;
    }
    char digits[6];
    unsigned int micros = (unsigned int)(rest / 1000);
    for (int index = 5; index >= 0; index--) {
        digits[index] = (char)('0' + micros % 10);
        micros /= 10;
    }
    return text_add(text, digits, 6);
}

/* From the fraction of the second to the end of the event's text. */
static int
add_start(Lane *lane, Text *text, PyObject *starts, int index, PyObject *event)
{
    PyObject *known = PyTuple_GetItem(starts, index);
    if (known == NULL) {
        return -1;
    }
    PyObject *start = PyDict_GetItemWithError(known, event);
    if (start != NULL) {
        return text_add_bytes(text, start);
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    start = PyObject_CallFunctionObjArgs(OF(lane, start_of), known, event, NULL);
    if (start == NULL) {
        return -1;
    }
    int result = text_add_bytes(text, start);
    Py_DECREF(start);
    return result;
}

/* The keys of a call site as they stand in a line; a new reference. */
static PyObject *
keys_of(Lane *lane, PyObject *names, Call **found)
{
    Call *call = &lane->calls[((size_t)names >> 4) % CALLS];
    *found = call;
    if (call->names == names) {
        Py_INCREF(call->keys);
        return call->keys;
    }
    PyObject *keys = PyObject_CallFunctionObjArgs(OF(lane, names_of), names, NULL);
    if (keys != NULL) {
        replace(&call->names, names);
        replace(&call->keys, keys);
        Py_CLEAR(call->taken);
        Py_CLEAR(call->outer);
    }
    return keys;
}

static int
has_none_of(PyObject *keys, PyObject *names)
{
    Py_ssize_t count = names == NULL ? 0 : PyTuple_Size(names);
    for (Py_ssize_t index = 0; index < count; index++) {
        if (PySet_Contains(keys, PyTuple_GetItem(names, index))) { /* or it failed */
            return 0;
        }
    }
    return 1;
}

/* Whether no key comes twice: as a keyword, a bound value (*taken*) or a context variable (*outer*). */
static int
are_apart(Call *call, PyObject *names, PyObject *taken, PyObject *outer)
{
    if (call != NULL && call->names == names && call->taken == taken && call->outer == outer) {
        return 1;
    }
    if (!has_none_of(taken, names) || !has_none_of(outer, names)) {
        return 0;
    }
    if (PySet_Size(taken) > 0 && PySet_Size(outer) > 0) {
        PyObject *apart = PyObject_CallMethodObjArgs(outer, str_isdisjoint, taken, NULL);
        Py_XDECREF(apart);
        if (apart != Py_True) {
            return 0;
        }
    }
    if (call != NULL && call->names == names) {
        replace(&call->taken, taken);
        replace(&call->outer, outer);
    }
    return 1;
}

static int
keeps_its_text(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyUnicode_Type || type == &PyLong_Type || type == &PyFloat_Type ||
           type == &PyBool_Type || value == Py_None || value == Py_Ellipsis;
}

/* What the context variables add: (bytes, keys), a new reference. */
static PyObject *
around(Lane *lane)
{
    PyObject *values[AROUND_MAX];
    PyObject *name, *variable;
    Py_ssize_t position = 0, count = 0;
    size_t hash = 0;
    int simple = PyDict_Size(OF(lane, variables)) <= AROUND_MAX;
    while (simple && PyDict_Next(OF(lane, variables), &position, &name, &variable)) {
        /* ContextVar.get runs no Python code: the table stands still. */
        Getter *getter = &lane->getters[count];
        if (getter->variable != variable) {
            PyObject *get = PyObject_GetAttr(variable, str_get);
            if (get == NULL) {
                PyErr_Clear();
                simple = 0;
                break;
            }
            replace(&getter->variable, variable);
            replace(&getter->get, get);
            Py_DECREF(get);
        }
        PyObject *value = PyObject_CallFunctionObjArgs(getter->get, Py_Ellipsis, NULL);
        if (value == NULL) {
            PyErr_Clear();
            simple = 0;
            break;
        }
        values[count++] = value;
        simple = keeps_its_text(value);
        hash = hash * 31 + ((size_t)value >> 4);
    }
    Around *known = &lane->arounds[hash % AROUNDS];
    PyObject *shown = NULL;
    if (simple && known->count == count && known->shown != NULL &&
        memcmp(known->values, values, (size_t)count * sizeof(PyObject *)) == 0) {
        shown = known->shown;
        Py_INCREF(shown);
    }
    else if ((shown = PyObject_CallFunctionObjArgs(OF(lane, around_of), NULL)) != NULL && simple) {
        around_forget(known);
        for (Py_ssize_t index = 0; index < count; index++) {
            Py_INCREF(values[index]);
            known->values[index] = values[index];
        }
        known->count = count;
        Py_INCREF(shown);
        known->shown = shown;
    }
    while (count) {
        count--;
        Py_DECREF(values[count]);
    }
    return shown;
}

static int
add_fields(Lane *lane, Text *text, PyObject *keys, PyObject *const *values, Py_ssize_t count)
{
    Budget budget = {lane->nodes_max - count, lane->items_max, (size_t)lane->longest, OF(lane, dumps)};
    for (Py_ssize_t index = 0; index < count; index++) {
        PyObject *key = PyTuple_GetItem(keys, index);
        if (key == NULL || text_add_bytes(text, key) < 0) {
            return -1;
        }
        if (is_plain(values[index])) {
            if (encode(text, values[index], lane->levels, &budget) < 0) {
                return -1;
            }
            continue;
        }
        PyObject *shown = PyObject_CallFunctionObjArgs(OF(lane, leaf), values[index], NULL);
        if (shown == NULL) {
            return -1;
        }
        int result = text_add_bytes(text, shown);
        Py_DECREF(shown);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* Where the call stands: there is no frame of ours between it and here. */
static int
add_place(Lane *lane, Text *text)
{
    PyFrameObject *frame = PyEval_GetFrame();
    if (frame == NULL) {
        return -1;
    }
    PyCodeObject *code = PyFrame_GetCode(frame);
    int line = PyFrame_GetLineNumber(frame);
    Place *place = &lane->places[(((size_t)code >> 5) * 31 + (size_t)line) % PLACES];
    int result = -1;
    if (place->code == (PyObject *)code && place->line == line) {
        result = text_add_bytes(text, place->shown);
    }
    else {
        /* (members, whether they depend on nothing but the line) */
        PyObject *found = PyObject_CallFunctionObjArgs(OF(lane, place_of), (PyObject *)frame, NULL);
        if (found != NULL) {
            PyObject *shown = PyTuple_GetItem(found, 0);
            result = text_add_bytes(text, shown);
            if (result == 0 && PyTuple_GetItem(found, 1) == Py_True) {
                replace(&place->code, (PyObject *)code);
                replace(&place->shown, shown);
                place->line = line;
            }
            Py_DECREF(found);
        }
    }
    Py_DECREF(code);
    return result;
}

static int
add_added(Lane *lane, Text *text)
{
    if (OF(lane, place_of) != Py_None && add_place(lane, text) < 0) {
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(OF(lane, adders));
    for (Py_ssize_t index = 0; index < count; index++) {
        PyObject *shown =
            PyObject_CallFunctionObjArgs(PyTuple_GetItem(OF(lane, adders), index), NULL);
        int result = shown == NULL ? -1 : text_add_bytes(text, shown);
        Py_XDECREF(shown);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* The line of an event, a new reference; NULL if it has to go step by step. */
static PyObject *
render(Lane *lane, PyObject *mine, int index, PyObject *event, PyObject *const *values,
       PyObject *names, long long moment)
{
    /* mine: (lane, starts by level, members of the bound values, their keys) */
    PyObject *line = NULL, *outer = NULL, *keys = NULL;
    Py_ssize_t count = names == NULL ? 0 : PyTuple_Size(names);
    Text text;
    text_init(&text);
    if (add_head(lane, &text, moment) < 0 ||
        add_start(lane, &text, PyTuple_GetItem(mine, 1), index, event) < 0 ||
        text_add_bytes(&text, OF(lane, fixed)) < 0) {
        goto done;
    }
    Call *call = NULL;
    if (count && ((keys = keys_of(lane, names, &call)) == NULL || !PyTuple_Check(keys))) {
        goto done;
    }
    PyObject *around_keys = OF(lane, nothing);
    if (PyDict_Size(OF(lane, variables)) > 0) {
        if ((outer = around(lane)) == NULL) {
            goto done;
        }
        around_keys = PyTuple_GetItem(outer, 1);
        if (text_add_bytes(&text, PyTuple_GetItem(outer, 0)) < 0) {
            goto done;
        }
    }
    if (!are_apart(call, names, PyTuple_GetItem(mine, 3), around_keys)) {
        goto done;
    }
    if (text_add_bytes(&text, PyTuple_GetItem(mine, 2)) < 0 ||
        (count && add_fields(lane, &text, keys, values, count) < 0) || add_added(lane, &text) < 0 ||
        text_add(&text, "}", 1) < 0) {
        goto done;
    }
    if (text.length <= (size_t)lane->longest) {
        line = PyBytes_FromStringAndSize(text.data, (Py_ssize_t)text.length);
    }
done:
    Py_XDECREF(outer);
    Py_XDECREF(keys);
    text_free(&text);
    return line;
}

/* -- delivery --------------------------------------------------------------------------------- */

static PyObject *
make_record(Lane *lane, int index, PyObject *line, long long moment)
{
    PyObject *created = PyFloat_FromDouble((double)moment / 1e9);
    if (created == NULL) {
        return NULL;
    }
    PyObject *record = PyType_GenericAlloc((PyTypeObject *)OF(lane, record), 3);
    if (record == NULL) {
        Py_DECREF(created);
        return NULL;
    }
    Py_INCREF(level_numbers[index]);
    Py_INCREF(line);
    PyTuple_SetItem(record, 0, level_numbers[index]);
    PyTuple_SetItem(record, 1, line);
    PyTuple_SetItem(record, 2, created);
    return record;
}

/* Puts a record in the queue, or hands it to whoever puts it elsewhere; None, or NULL. */
static PyObject *
put(Lane *lane, PyObject *record, Py_ssize_t size)
{
    if (OF(lane, gate) == Py_None) {
        return PyObject_CallFunctionObjArgs(OF(lane, put), record, NULL);
    }
    /* The steps of RecordBuffer.offer; no other thread runs from here to the end of the append. */
    Gate *gate = (Gate *)OF(lane, gate);
    if (gate->size >= gate->limit || gate->bytes + size > gate->byte_limit) {
        return PyObject_CallFunctionObjArgs(OF(lane, handle), record, NULL);
    }
    gate->size++;
    gate->bytes += size;
    PyObject *done = PyObject_CallFunctionObjArgs(OF(lane, append), record, NULL);
    if (done == NULL) {
        gate->size--;
        gate->bytes -= size;
        return NULL;
    }
    if (gate->size >= gate->wake_size || gate->bytes >= gate->wake_bytes) {
        Py_DECREF(done);
        return PyObject_CallFunctionObjArgs(OF(lane, ring), NULL);
    }
    return done;
}

/* Delivers a line; 0, or -1 with an exception that is the caller's. */
static int
deliver(Lane *lane, int index, PyObject *line, PyObject *moment, long long nanoseconds)
{
    PyObject *done = NULL;
    if (OF(lane, straight) != Py_None) {
        done = PyObject_CallFunctionObjArgs(
            OF(lane, straight), level_numbers[index], line, moment, NULL);
        if (done == Py_True) {
            Py_DECREF(done);
            return 0;
        }
    }
    int failed = done == NULL && PyErr_Occurred() != NULL;
    Py_XDECREF(done);
    PyObject *type = NULL, *error = NULL, *traceback = NULL;
    if (failed) {
        PyErr_Fetch(&type, &error, &traceback);
    }
    PyObject *record = make_record(lane, index, line, nanoseconds);
    if (record == NULL) {
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        return -1;
    }
    if (!failed) {
        done = put(lane, record, PyBytes_Size(line));
        if (done != NULL) {
            Py_DECREF(done);
            Py_DECREF(record);
            return 0;
        }
        PyErr_Fetch(&type, &error, &traceback);
    }
    if (!PyErr_GivenExceptionMatches(type, PyExc_Exception)) {
        PyErr_Restore(type, error, traceback);
        Py_DECREF(record);
        return -1;
    }
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    done = PyObject_CallFunctionObjArgs(OF(lane, not_delivered), record, error, NULL);
    Py_DECREF(record);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* -- the methods of the bound logger ---------------------------------------------------------- */

static PyObject *
step_by_step(PyObject *self, int index, PyObject *const *args, Py_ssize_t count, PyObject *names,
             PyObject *moment)
{
    PyObject *result = NULL;
    PyObject *method = PyObject_GetAttr(self, str_slow);
    PyObject *rest = PyTuple_New(count > 1 ? count - 1 : 0);
    PyObject *fields = PyDict_New();
    if (method == NULL || rest == NULL || fields == NULL) {
        goto done;
    }
    for (Py_ssize_t at = 1; at < count; at++) {
        Py_INCREF(args[at]);
        PyTuple_SetItem(rest, at - 1, args[at]);
    }
    for (Py_ssize_t at = 0; names != NULL && at < PyTuple_Size(names); at++) {
        if (PyDict_SetItem(fields, PyTuple_GetItem(names, at), args[count + at]) < 0) {
            goto done;
        }
    }
    result = PyObject_CallFunctionObjArgs(
        method, level_numbers[index], level_names[index], count ? args[0] : Py_None, rest, fields,
        moment == NULL ? Py_None : moment, NULL);
done:
    Py_XDECREF(method);
    Py_XDECREF(rest);
    Py_XDECREF(fields);
    return result;
}

/* What the logger has ready for its lane: a new reference, or NULL without an exception. */
static PyObject *
ready(PyObject *self)
{
    PyObject *mine = PyObject_GetAttr(self, str_lane);
    for (int tries = 0; mine != NULL && tries < 2; tries++) {
        if (PyTuple_Check(mine) && PyTuple_Size(mine) >= 1) {
            PyObject *lane = PyTuple_GetItem(mine, 0);
            if (Py_TYPE(lane) == lane_type && ((Lane *)lane)->active) {
                if (PyTuple_Size(mine) == 4) {
                    return mine;
                }
                break; /* its events are known not to be plain */
            }
        }
        Py_DECREF(mine);
        mine = tries ? NULL : PyObject_CallMethodObjArgs(self, str_prepare, NULL);
    }
    Py_XDECREF(mine);
    return NULL;
}

static PyObject *
log_event(PyObject *self, int index, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    PyObject *named = PyObject_GetAttr(self, str_logger);
    PyObject *threshold = named == NULL ? NULL : PyObject_GetAttr(named, str_level);
    Py_XDECREF(named);
    if (threshold == NULL) {
        return NULL;
    }
    long level = PyLong_AsLong(threshold);
    Py_DECREF(threshold);
    if (LEVELS[index] < level) {
        Py_RETURN_NONE;
    }
    if (level == -1 && PyErr_Occurred()) {
        PyErr_Clear();
    }
    PyObject *mine = ready(self);
    PyObject *moment = NULL, *line = NULL, *result = NULL;
    long long nanoseconds;
    if (mine != NULL) {
        Lane *lane = (Lane *)PyTuple_GetItem(mine, 0);
        if (read_clock(lane, &moment, &nanoseconds) == 0 && count == 1 &&
            Py_TYPE(args[0]) == &PyUnicode_Type && PyObject_Size(OF(lane, overdue)) == 0) {
            line = render(lane, mine, index, args[0], args + 1, names, nanoseconds);
        }
        if (line != NULL) {
            if (deliver(lane, index, line, moment, nanoseconds) == 0) {
                result = Py_None;
                Py_INCREF(result);
            }
            goto done;
        }
    }
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            goto done; /* KeyboardInterrupt and the like */
        }
        PyErr_Clear();
    }
    result = step_by_step(self, index, args, count, names, moment);
done:
    Py_XDECREF(mine);
    Py_XDECREF(moment);
    Py_XDECREF(line);
    return result;
}

#define METHOD(name, index) \
    static PyObject *log_##name(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) \
    { \
        return log_event(self, index, args, count, names); \
    }
METHOD(debug, 0)
METHOD(info, 1)
METHOD(warning, 2)
METHOD(error, 3)
METHOD(critical, 4)

#define ROW(name) \
    {#name, (PyCFunction)(void (*)(void))log_##name, METH_FASTCALL | METH_KEYWORDS, \
     #name "($self, event=None, /, *args, **fields)\n--\n\n" \
     "Log *event* at level " #name "; ``%`` placeholders take *args*, the rest are fields."}

PyMethodDef log_methods[] = {
    ROW(debug), ROW(info), ROW(warning), ROW(error), ROW(critical), {NULL},
};
