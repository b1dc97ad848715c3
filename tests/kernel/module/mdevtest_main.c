// SPDX-License-Identifier: GPL-2.0-only
/* The module: parents, types, and the life of an instance. */
#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/sysfs.h>

#include "mdevtest.h"

struct mdevtest_type {
	struct mdev_type type;
	const struct mdevtest_model *model;
};

/*
 * The mdev core knows one driver, hence one device_api, for each parent. Two
 * device APIs therefore take two parents.
 */
struct mdevtest_parent {
	struct device dev;
	struct mdev_parent parent;
	struct mdev_driver *driver;
	struct mdev_type *types[4];
	unsigned int nr_types;
	const char *name;
};

static atomic_t instances_left = ATOMIC_INIT(MDEVTEST_INSTANCES);

bool mdevtest_take_instance(void)
{
	return atomic_dec_if_positive(&instances_left) >= 0;
}

void mdevtest_give_instance(void)
{
	atomic_inc(&instances_left);
}

static unsigned int mdevtest_get_available(struct mdev_type *type)
{
	return atomic_read(&instances_left);
}

const struct mdevtest_model *mdevtest_model_of(struct mdev_device *mdev)
{
	return container_of(mdev->type, struct mdevtest_type, type)->model;
}

static int mdevtest_probe(struct mdev_device *mdev)
{
	struct mdevtest_device *dev;
	int ret;

	dev = vfio_alloc_device(mdevtest_device, vdev, &mdev->dev,
				&mdevtest_device_ops);
	if (IS_ERR(dev))
		return PTR_ERR(dev);

	dev_set_drvdata(&mdev->dev, dev);
	ret = vfio_register_emulated_iommu_dev(&dev->vdev);
	if (ret)
		vfio_put_device(&dev->vdev);
	else
		mdevtest_fault_create();
	return ret;
}

static void mdevtest_remove(struct mdev_device *mdev)
{
	struct mdevtest_device *dev = dev_get_drvdata(&mdev->dev);

	/* Waits until the last file descriptor and mapping are gone. */
	vfio_unregister_group_dev(&dev->vdev);
	vfio_put_device(&dev->vdev);
}

static ssize_t mdevtest_show_description(struct mdev_type *type, char *buf)
{
	return sysfs_emit(buf, "BARs that exercise every mapping rule\n");
}

static struct mdev_driver sparse_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.probe = mdevtest_probe,
	.remove = mdevtest_remove,
	.get_available = mdevtest_get_available,
	.show_description = mdevtest_show_description,
	.driver = {
		.name = "mdevtest",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
};

static struct mdev_driver platform_driver = {
	.device_api = VFIO_DEVICE_API_PLATFORM_STRING,
	.probe = mdevtest_probe,
	.remove = mdevtest_remove,
	.get_available = mdevtest_get_available,
	.driver = {
		.name = "mdevtest_platform",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
};

static struct mdevtest_type sparse_type = {
	.type.sysfs_name = "sparse",
	.type.pretty_name = "Sparse region test device",
	.model = &mdevtest_sparse,
};

static struct mdevtest_type platform_type = {
	.type.sysfs_name = "platform",
	.type.pretty_name = "Platform test device",
	.model = &mdevtest_platform,
};

static struct mdevtest_type kvm_type = {
	.type.sysfs_name = "kvm",
	.type.pretty_name = "Test device for virtual machines",
	.model = &mdevtest_kvm,
};

static struct mdevtest_type kvm_einval_type = {
	.type.sysfs_name = "kvm-einval",
	.type.pretty_name = "Test device for virtual machines, tight-lipped",
	.model = &mdevtest_kvm_einval,
};

static struct mdevtest_type dma_type = {
	.type.sysfs_name = "dma",
	.type.pretty_name = "DMA test device",
	.model = &mdevtest_dma,
};

static struct mdevtest_parent parents[] = {
	{
		.name = "mdevtest",
		.driver = &sparse_driver,
		.types = { &sparse_type.type },
		.nr_types = 1,
	},
	{
		.name = "mdevtest-soc",
		.driver = &platform_driver,
		.types = {
			&platform_type.type,
			&kvm_type.type,
			&kvm_einval_type.type,
			&dma_type.type,
		},
		.nr_types = 4,
	},
};

static const struct class mdevtest_class = {
	.name = "mdevtest",
};

static void mdevtest_parent_release(struct device *dev)
{
	/* The parents are static; the core demands a release function. */
}

static int __init mdevtest_parent_add(struct mdevtest_parent *parent)
{
	int ret;

	ret = mdev_register_driver(parent->driver);
	if (ret)
		return ret;

	device_initialize(&parent->dev);
	parent->dev.class = &mdevtest_class;
	parent->dev.release = mdevtest_parent_release;
	ret = dev_set_name(&parent->dev, "%s", parent->name);
	if (ret)
		goto err_put;
	ret = device_add(&parent->dev);
	if (ret)
		goto err_put;

	ret = mdev_register_parent(&parent->parent, &parent->dev,
				   parent->driver, parent->types,
				   parent->nr_types);
	if (ret)
		goto err_del;
	return 0;

err_del:
	device_del(&parent->dev);
err_put:
	put_device(&parent->dev);
	mdev_unregister_driver(parent->driver);
	return ret;
}

static void mdevtest_parent_remove(struct mdevtest_parent *parent)
{
	mdev_unregister_parent(&parent->parent);
	device_unregister(&parent->dev);
	mdev_unregister_driver(parent->driver);
}

static int __init mdevtest_init(void)
{
	int i, ret;

	ret = class_register(&mdevtest_class);
	if (ret)
		return ret;

	for (i = 0; i < ARRAY_SIZE(parents); i++) {
		ret = mdevtest_parent_add(&parents[i]);
		if (ret)
			goto err;
	}
	return 0;

err:
	while (--i >= 0)
		mdevtest_parent_remove(&parents[i]);
	class_unregister(&mdevtest_class);
	return ret;
}

static void __exit mdevtest_exit(void)
{
	int i;

	for (i = ARRAY_SIZE(parents) - 1; i >= 0; i--)
		mdevtest_parent_remove(&parents[i]);
	class_unregister(&mdevtest_class);
}

module_init(mdevtest_init)
module_exit(mdevtest_exit)

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Mediated devices for tests of user-space drivers");
MODULE_AUTHOR("The mdevbus authors");
