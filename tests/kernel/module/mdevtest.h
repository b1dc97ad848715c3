/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mdevtest: mediated devices with no hardware behind them, for the tests of a
 * user-space driver framework. A model (sparse, platform) is a table of
 * regions and interrupts plus a few hooks; everything else is common code.
 */
#ifndef MDEVTEST_H
#define MDEVTEST_H

#include <linux/eventfd.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/vfio.h>

#define MDEVTEST_INSTANCES	8
#define MDEVTEST_MAX_REGIONS	10
#define MDEVTEST_MAX_IRQS	5
#define MDEVTEST_MAX_VECTORS	8

struct mdevtest_device;

struct mdevtest_region_desc {
	u32 size;
	u32 flags;
	/* No such index: GET_REGION_INFO fails, unlike a region of size 0. */
	bool absent;
	/* Only the areas can be mapped, and none if there are none. */
	bool sparse;
	u32 nr_areas;
	const struct vfio_region_sparse_mmap_area *areas;
	/* Capabilities besides the sparse one. */
	int (*add_caps)(struct vfio_info_cap *caps);
};

struct mdevtest_irq_desc {
	u32 count;
	u32 flags;
};

struct mdevtest_model {
	u32 flags;
	/* What opening fails with unless a virtual machine is linked; or 0. */
	int without_kvm;
	u32 num_regions;
	u32 num_irqs;
	/* The region at offset 0 of the file; the others follow by index. */
	u32 first_region;
	const struct mdevtest_region_desc *regions;
	const struct mdevtest_irq_desc *irqs;
	/* Fills the fresh, zeroed regions. May be NULL. */
	void (*prepare)(struct mdevtest_device *dev);
	/* One aligned access of 1, 2, 4 or 8 bytes inside a region. */
	void (*access)(struct mdevtest_device *dev, u32 index, u32 offset,
		       void *value, u32 width, bool write);
	void (*reset)(struct mdevtest_device *dev);
	/* Memory of the user goes away. May be NULL. Takes no lock. */
	void (*dma_unmap)(struct mdevtest_device *dev);
};

struct mdevtest_region {
	u64 offset;
	void *memory;
};

struct mdevtest_irq {
	struct eventfd_ctx *vectors[MDEVTEST_MAX_VECTORS];
	/* For AUTOMASKED indices, which have one vector. */
	bool masked;
	bool pending;
};

struct mdevtest_device {
	struct vfio_device vdev;
	const struct mdevtest_model *model;
	struct mdevtest_region regions[MDEVTEST_MAX_REGIONS];
	/*
	 * Guards everything below and the fd's accesses. Never held while
	 * user memory is copied: the copy may fault.
	 */
	struct mutex lock;
	struct mdevtest_irq irqs[MDEVTEST_MAX_IRQS];
	/* Pages of the user that are in use; not guarded. */
	atomic_t pinned;
	u32 scratch;
	u32 accesses;
	u32 doorbells;
};

static inline struct mdevtest_device *to_mdevtest(struct vfio_device *vdev)
{
	return container_of(vdev, struct mdevtest_device, vdev);
}

/* mdevtest_main.c */
const struct mdevtest_model *mdevtest_model_of(struct mdev_device *mdev);
bool mdevtest_take_instance(void);
void mdevtest_give_instance(void);

/* mdevtest_device.c */
extern const struct vfio_device_ops mdevtest_device_ops;
void mdevtest_ram_access(struct mdevtest_device *dev, u32 index, u32 offset,
			 void *value, u32 width, bool write);
void mdevtest_ram_clear(struct mdevtest_device *dev, u32 index);

/* mdevtest_irq.c */
long mdevtest_get_irq_info(struct mdevtest_device *dev, void __user *arg);
long mdevtest_set_irqs(struct mdevtest_device *dev, void __user *arg);
void mdevtest_irq_fire(struct mdevtest_device *dev, u32 index, u32 vector);
void mdevtest_irq_disable_all(struct mdevtest_device *dev);

/* mdevtest_faults.c */
void mdevtest_fault_create(void);
int mdevtest_fault_open(void);
int mdevtest_fault_mmap(void);
int mdevtest_fault_reset(void);

/* mdevtest_sparse.c, mdevtest_platform.c, mdevtest_dma.c */
extern const struct mdevtest_model mdevtest_sparse;
extern const struct mdevtest_model mdevtest_platform;
extern const struct mdevtest_model mdevtest_kvm;
extern const struct mdevtest_model mdevtest_kvm_einval;
extern const struct mdevtest_model mdevtest_dma;

#endif
