/* The types: the gate of a queue, and the lane with its caches. */
#include "lane.h"

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

static PyType_Spec gate_spec = {
    "pylog_struct._speed.Gate", sizeof(Gate), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, gate_slots,
};

/* -- the lane --------------------------------------------------------------------------------- */

static PyType_Spec lane_spec;
PyTypeObject *gate_type, *lane_type;
PyObject *str_logger, *str_level, *str_lane, *str_prepare, *str_slow, *str_get,
    *str_isdisjoint;
PyObject *level_numbers[LEVELS], *level_names[LEVELS];
const long LEVEL_VALUES[LEVELS] = {10, 20, 30, 40, 50};
static const char *const LEVEL_NAMES[LEVELS] = {"debug", "info", "warning", "error", "critical"};

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
    for (int index = 0; index < LEVELS; index++) {
        level_numbers[index] = PyLong_FromLong(LEVEL_VALUES[index]);
        level_names[index] = PyUnicode_InternFromString(LEVEL_NAMES[index]);
        if (level_numbers[index] == NULL || level_names[index] == NULL) {
            return -1;
        }
    }
    gate_type = (PyTypeObject *)PyType_FromSpec(&gate_spec);
    lane_type = gate_type == NULL ? NULL : (PyTypeObject *)PyType_FromSpec(&lane_spec);
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

void
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
        Py_CLEAR(lane->calls[index].kinds);
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

static PyType_Spec lane_spec = {
    "pylog_struct._speed.Lane", sizeof(Lane), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, lane_slots,
};

